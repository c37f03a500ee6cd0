"""What a procedure tells while it runs: typed events that renderers turn into text or JSON.

Use cases emit; only `cli/` prints. An event is a fact with a time, never a format.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Event:
    """The root of all events."""

    #: When it happened, by this machine's clock.
    at: datetime = field(default_factory=_now)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run of a runbook began, or goes on after an interruption."""

    run: str
    runbook: str
    resumed: bool


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """A step of a run begins."""

    run: str
    step: str
    #: What the step does, in one sentence.
    sentence: str
    number: int
    of: int


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """A step of a run is done."""

    run: str
    step: str
    seconds: float
    #: What was found or done, in one line; empty where there is nothing to add.
    result: str


@dataclass(frozen=True, kw_only=True)
class StepFailed(Event):
    """A step of a run failed; what is undoable is undone next."""

    run: str
    step: str
    message: str


@dataclass(frozen=True, kw_only=True)
class StepUndone(Event):
    """The effect of a step was taken back."""

    run: str
    step: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A run ended: `done`, `done with warnings`, `undone` or `stopped`."""

    run: str
    outcome: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far a long piece of work is."""

    #: What is being worked on, such as `dump` or `table public.messages`.
    work: str
    done: int
    #: None where it cannot be known.
    total: int | None
    #: `bytes`, `rows`, `objects` or `seconds`.
    unit: str


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """Something worth knowing that changes nothing."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """Something that the operator must look at; the run then ends with exit code 3, not 0."""

    message: str
    hint: str | None = None


#: Takes an event. Must not raise: a terminal that is gone is no reason to undo a restore.
Emit = Callable[[Event], None]


def discard(event: Event) -> None:
    """Emit to nobody."""
