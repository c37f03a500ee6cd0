"""Turn events, results and errors into text or JSON: stdout carries data, stderr carries talk."""

import json
import re
import sys
import time
from typing import IO, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.table import Table

from alexandria_backup.cli.amounts import amount, duration, rate
from alexandria_backup.cli.documents import JsonValue, document
from alexandria_backup.errors import AlexandriaError
from alexandria_backup.events import (
    Event,
    Note,
    Progress,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    StepUndone,
    Warned,
)

#: Where stderr is no terminal, progress is one line in this many seconds.
_LINE_EVERY_S = 5.0
_NO_WIDTH = 10_000


class Renderer(Protocol):
    """What a command prints with."""

    def event(self, event: Event) -> None:
        """Show one event."""
        ...

    def result(self, value: object, text: str | Table) -> None:
        """Show a command's result: `value` as JSON, or `text` to a person."""
        ...

    def error(self, error: AlexandriaError) -> None:
        """Show what ended the command."""
        ...

    def close(self) -> None:
        """End whatever is still being drawn."""
        ...


class JsonRenderer:
    """One JSON line per event, and the result as the last line, all on stdout."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def event(self, event: Event) -> None:
        """Print `{"event": "step_started", …}`."""
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
        self._line({"event": name, **_fields(event)})

    def result(self, value: object, text: str | Table) -> None:  # noqa: ARG002 - the port's form
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


class TextRenderer:
    """Talk on stderr, with a live bar on a terminal and plain lines elsewhere; data on stdout."""

    def __init__(self) -> None:
        self._talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        # A pipe has no width: nothing is cut or wrapped there.
        width = None if sys.stdout.isatty() else _NO_WIDTH
        self._data = Console(highlight=False, markup=False, width=width)
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._work: tuple[str, float] = ("", 0.0)
        self._last_line = 0.0

    def event(self, event: Event) -> None:
        """Print one event as a line, or move the bar."""
        if isinstance(event, Progress):
            self._progress(event)
            return
        self.close()
        for line, style in _lines(event):
            self._talk.print(line, style=style)

    def result(self, value: object, text: str | Table) -> None:  # noqa: ARG002 - the port's form
        """Print the text on stdout."""
        self.close()
        if text:
            self._data.print(text)

    def error(self, error: AlexandriaError) -> None:
        """Print the message, then `hint:` and the command to type."""
        self.close()
        self._talk.print(f"error: {error.message}", style="bold red")
        if error.hint:
            self._talk.print(f"hint: {error.hint}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        if self._work[0] != event.work:
            self.close()
            self._work = (event.work, now)
            self._last_line = now
        elapsed = now - self._work[1]
        said = f"{event.work}: {amount(event.done, event.unit)}"
        if event.total:
            said += f" of about {amount(event.total, event.unit)}"
        if event.unit != "seconds":
            said += f", {rate(event.done, event.unit, elapsed)}"
        if self._talk.is_terminal:
            self._draw(event, said)
        elif now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            left = elapsed * (event.total - event.done) / max(event.done, 1) if event.total else 0.0
            self._talk.print(f"      {said}" + (f", {duration(left)} left" if left > 0 else ""))

    def _draw(self, event: Progress, said: str) -> None:
        if self._bar is None or self._task is None:
            self._bar = Bar(
                TextColumn("      {task.description}"),
                BarColumn(bar_width=24),
                TimeRemainingColumn(),
                console=self._talk,
                transient=True,
            )
            self._task = self._bar.add_task(said, total=event.total)
            self._bar.start()
        self._bar.update(self._task, description=said, completed=event.done, total=event.total)


def _fields(event: Event) -> dict[str, JsonValue]:
    found = document(event)
    return found if isinstance(found, dict) else {}


def _lines(event: Event) -> list[tuple[str, str | None]]:
    """Return the lines of an event, each with its style."""
    lines: list[tuple[str, str | None]] = []
    match event:
        case RunStarted():
            lines = [(f"run {event.run}{' goes on' if event.resumed else ''}", "bold")]
        case StepStarted():
            lines = [(f"{event.number:>3}/{event.of:<2} {event.step}: {event.sentence}", None)]
        case StepFinished():
            said = f": {event.result}" if event.result else ""
            lines = [(f"       done in {duration(event.seconds)}{said}", "green")]
        case StepFailed():
            lines = [(f"       failed: {event.message}", "red")]
        case StepUndone():
            lines = [(f"       undone: {event.step}", "yellow")]
        case RunFinished():
            lines = [(f"run {event.run}: {event.outcome} in {duration(event.seconds)}", "bold")]
        case Warned():
            lines = [(f"warning: {event.message}", "yellow")]
            lines += [(f"hint: {event.hint}", None)] if event.hint else []
        case Note():
            lines = [(f"       {event.message}", None)]
    return lines
