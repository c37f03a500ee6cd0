"""What one call of the program was given, and the options that several commands share."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from alexandria_backup.cli.renderers import Renderer
from alexandria_backup.events import Event, Warned

if TYPE_CHECKING:
    from alexandria_backup.wiring.wiring import Wiring

Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON: one document, or one line per event.")
]
Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Do not ask; for scripts, and for people who have looked.")
]
Plan: TypeAlias = Annotated[
    bool, typer.Option("--plan", help="Print the steps and their equivalent commands; do nothing.")
]
Out: TypeAlias = Annotated[Path, typer.Option("--out", help="The folder to write into; empty.")]
At: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="With `latest`: the newest one that is not younger than this, in ISO 8601 with a "
        "zone, such as `2026-11-23T12:00:00Z`.",
    ),
]
#: As in `[database] jobs`: each is a connection, and a server has a hundred of them.
_MOST_JOBS = 64
Jobs: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=_MOST_JOBS, help="How many connections load at once.")
]
DsnFile: TypeAlias = Annotated[
    Path | None, typer.Option("--dsn-file", help="A file that holds the DSN of the database.")
]


@dataclass(kw_only=True)
class Invocation:
    """One call of the program: its surroundings, its output, and whether there were warnings."""

    environ: Mapping[str, str]
    cwd: Path
    config: Path | None = None
    namespace: str | None = None
    values: Path | None = None
    json: bool = False
    warnings: list[str] = field(default_factory=list)
    _renderer: Renderer | None = None
    _gone: bool = False

    @property
    def renderer(self) -> Renderer:
        """Whatever prints: text on stderr and stdout, or JSON on stdout."""
        if self._renderer is None:
            self._renderer = self._json_renderer() if self.json else self._text_renderer()
        return self._renderer

    def close(self) -> None:
        """End whatever is still being drawn."""
        if self._renderer is not None:
            self._renderer.close()

    def emit(self, event: Event) -> None:
        """Render an event, and remember that there was a warning."""
        if isinstance(event, Warned):
            self.warnings.append(event.message)
        if self._gone:
            return
        try:
            self.renderer.event(event)
        except (OSError, ValueError):
            # The terminal or the pipe is gone. The work goes on, and the journal tells of it.
            self._gone = True

    def _json_renderer(self) -> Renderer:
        # Here, as below: why, `renderers.py` says.
        from alexandria_backup.cli.json_renderer import JsonRenderer  # noqa: PLC0415

        return JsonRenderer(sys.stdout)

    def _text_renderer(self) -> Renderer:
        from alexandria_backup.cli.text_renderer import TextRenderer  # noqa: PLC0415

        return TextRenderer()

    def wiring(self, *, json: bool = False, dsn_file: Path | None = None) -> "Wiring":
        """Load the settings and return what builds the rooms' objects from them."""
        # Here, since it imports every room: `--help` needs none of them.
        from alexandria_backup.wiring.wiring import Wiring  # noqa: PLC0415

        self.json = json
        return Wiring.load(
            config=self.config,
            environ=self.environ,
            cwd=self.cwd,
            dsn_file=dsn_file,
            emit=self.emit,
            namespace=self.namespace,
            values=self.values,
        )


def invocation_of(context: typer.Context) -> Invocation:
    """Return the invocation that `main` put into the context."""
    found = context.find_root().obj
    if not isinstance(found, Invocation):
        raise TypeError("the program was not started by its own entry point")
    return found
