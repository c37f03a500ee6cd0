"""The port of whatever prints: stdout carries data, stderr carries talk.

`text_renderer.py` draws with rich, and `json_renderer.py` knows pydantic's documents. Each of these
takes longer to import than a short command's work, so that `Invocation.renderer` imports the one
that is used, when it is used first.
"""

from typing import TYPE_CHECKING, Protocol

from alexandria_backup.errors import AlexandriaError
from alexandria_backup.events import Event

if TYPE_CHECKING:
    from rich.table import Table


class Renderer(Protocol):
    """What a command prints with."""

    def event(self, event: Event) -> None:
        """Show one event."""
        ...

    def result(self, value: object, text: "str | Table") -> None:
        """Show a command's result: `value` as JSON, or `text` to a person."""
        ...

    def error(self, error: AlexandriaError) -> None:
        """Show what ended the command."""
        ...

    def close(self) -> None:
        """End whatever is still being drawn."""
        ...
