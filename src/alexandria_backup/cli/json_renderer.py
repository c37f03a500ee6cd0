"""Events, results and errors as JSON, all on stdout: one line each."""

import json
import re
from typing import IO, TYPE_CHECKING

from alexandria_backup.cli.documents import JsonValue, document
from alexandria_backup.errors import AlexandriaError
from alexandria_backup.events import Event

if TYPE_CHECKING:
    from rich.table import Table


class JsonRenderer:
    """One JSON line per event, and the result as the last line, all on stdout."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def event(self, event: Event) -> None:
        """Print `{"event": "step_started", …}`."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
        self._line({"event": name, **_fields(event)})

    def result(self, value: object, text: "str | Table") -> None:  # noqa: ARG002 - the port's form
        """Print `{"event": "result", "result": …}`."""
        self._line({"event": "result", "result": document(value)})

    def error(self, error: AlexandriaError) -> None:
        """Print `{"event": "error", …}` with the code that the documentation lists."""
        self._line(
            {
                "event": "error",
                "code": error.code,
                "exit_code": int(error.exit_code),
                "message": error.message,
                "hint": error.hint,
            }
        )

    def close(self) -> None:
        """Nothing is drawn."""

    def _line(self, value: dict[str, JsonValue]) -> None:
        self._out.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._out.flush()


def _fields(event: Event) -> dict[str, JsonValue]:
    found = document(event)
    return found if isinstance(found, dict) else {}
