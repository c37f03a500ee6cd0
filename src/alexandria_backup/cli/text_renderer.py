"""Events, results and errors as text: data on stdout, talk on stderr."""

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console

from alexandria_backup.cli.amounts import amount, duration, rate
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

if TYPE_CHECKING:
    from rich.table import Table

    from alexandria_backup.cli.progress_bar import ProgressBar

#: Where stderr is no terminal, progress is one line in this many seconds.
_LINE_EVERY_S = 5.0
_NO_WIDTH = 10_000


class TextRenderer:
    """Talk on stderr, with a live bar on a terminal and plain lines elsewhere; data on stdout."""

    def __init__(self) -> None:
        self._talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        # A pipe has no width: nothing is cut or wrapped there.
        width = None if sys.stdout.isatty() else _NO_WIDTH
        self._data = Console(highlight=False, markup=False, width=width)
        self._bar: ProgressBar | None = None
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

    def result(self, value: object, text: "str | Table") -> None:  # noqa: ARG002 - the port's form
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
            self._bar.close()
        self._bar = None

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
        if self._bar is None:
            # Here, since most commands draw none, and many a terminal never sees one.
            from alexandria_backup.cli.progress_bar import ProgressBar  # noqa: PLC0415

            self._bar = ProgressBar(self._talk, said, event.total)
        self._bar.move(said, event.done, event.total)


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
