"""A runbook with its first state: ready to be planned, or run, resumed or aborted."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.events import Emit
from alexandria_backup.runbooks.journal import Journal, list_runs
from alexandria_backup.runbooks.runner import Runner
from alexandria_backup.runbooks.step import Confirm, Runbook, RunState
from alexandria_backup.runbooks.transition import Phase, Transition
from alexandria_backup.storage.store import ObjectStore

S = TypeVar("S", bound=RunState)
S_co = TypeVar("S_co", bound=RunState, covariant=True)

#: Held while a run works, so that two processes never work on one database.
Lock = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One step as `--plan` shows it."""

    step: str
    sentence: str
    #: The equivalent shell commands; secrets are redacted.
    commands: tuple[str, ...]
    #: False where the step only reads.
    changes: bool


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """How long a step took, all attempts together."""

    step: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RunSummary(Generic[S_co]):
    """How a run ended."""

    run: str
    runbook: str
    #: `done`, `done with warnings` or `undone`.
    outcome: str
    #: From the first to the last transition, pauses included.
    seconds: float
    steps: tuple[StepTime, ...]
    #: From when the application was stopped (or fenced out) until it was ready; None where it
    #: never was stopped.
    downtime_seconds: float | None
    state: S_co


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run as `run list` shows it."""

    run: str
    runbook: str
    began: datetime
    #: `done`, `undone`, or `waits` where it stopped half-way or is at work.
    status: str
    #: The step of the newest transition.
    step: str | None


class Procedure(Generic[S]):
    """A runbook bound to its journal; `state` is where it starts.

    `guard` looks at the state of a run that is to go on, and raises where it must not.
    """

    def __init__(
        self,
        runbook: Runbook[S],
        *,
        state: S | None,
        run: str,
        stores: Sequence[ObjectStore],
        lock: Lock,
        emit: Emit,
        guard: Callable[[S], None] = lambda _: None,
    ) -> None:
        self._runbook = runbook
        self._state = state
        self._run = run
        self._stores = tuple(stores)
        self._lock = lock
        self._guard = guard
        self._emit = emit

    def plan(self) -> tuple[PlannedStep, ...]:
        """Do the steps that only read, then explain all; changes nothing and journals nothing.

        Raises whatever a reading step raises: a plan that could not be carried out is no plan.
        """
        state = self._first()
        reading = [step for step in self._runbook.steps if not step.changes]
        for step in reading:
            state = step.do(state).state
        return tuple(
            PlannedStep(
                step=step.name,
                sentence=explanation.sentence,
                commands=explanation.commands,
                changes=step.changes,
            )
            for step in self._runbook.steps
            for explanation in (step.explain(state),)
        )

    def run(self, confirm: Confirm[S]) -> RunSummary[S]:
        """Do all steps; see `Runner.start` for what is raised."""
        return self._with(lambda runner: runner.start(self._first(), confirm))

    def resume(self, confirm: Confirm[S]) -> RunSummary[S]:
        """Go on where the journal ends; asks where nothing was changed yet."""
        return self._with(lambda runner: self._guarded(runner).resume(confirm))

    def abort(self) -> RunSummary[S]:
        """Undo what the journal says was begun."""
        return self._with(lambda runner: self._guarded(runner).abort())

    def _guarded(self, runner: Runner[S]) -> Runner[S]:
        self._guard(runner.state())
        return runner

    def _with(self, work: Callable[[Runner[S]], S]) -> RunSummary[S]:
        with self._lock():
            journal = Journal(self._run, self._stores, self._emit)
            state = work(Runner(self._runbook, journal, self._emit))
        return summarise(self._runbook.name, journal.transitions, state)

    def _first(self) -> S:
        if self._state is None:
            raise TypeError("this procedure was made to go on, not to start")
        return self._state


def summarise(runbook: str, transitions: Sequence[Transition], state: S) -> RunSummary[S]:
    """Return what the transitions of a run that is over tell."""
    undone = transitions[-1].phase is Phase.ABORTED
    outcome = "undone" if undone else "done with warnings" if state.warnings else "done"
    return RunSummary(
        run=state.run,
        runbook=runbook,
        outcome=outcome,
        seconds=(transitions[-1].at - transitions[0].at).total_seconds(),
        steps=tuple(_step_times(transitions)),
        downtime_seconds=_downtime(transitions),
        state=state,
    )


def status_of(run: str, stores: Sequence[ObjectStore], emit: Emit) -> RunStatus:
    """Return what the journal of `run` says of it; raises JournalInvalid for a damaged one."""
    journal = Journal(run, stores, emit)
    first, last = journal.transitions[0], journal.last
    status = {Phase.FINISHED: "done", Phase.ABORTED: "undone"}.get(last.phase, "waits")
    return RunStatus(run=run, runbook=first.runbook, began=first.at, status=status, step=last.step)


def all_runs(stores: Sequence[ObjectStore], emit: Emit) -> tuple[RunStatus, ...]:
    """Return the status of every run that one of the stores knows, oldest first."""
    found = [status_of(run, stores, emit) for run in list_runs(stores, emit)]
    return tuple(sorted(found, key=lambda status: status.began))


def _step_times(transitions: Iterable[Transition]) -> Iterable[StepTime]:
    seconds: dict[str, float] = {}
    began: Transition | None = None
    for transition in transitions:
        if transition.step is None:
            continue
        if transition.phase is Phase.DOING:
            began = transition
        elif began is not None and transition.phase in {Phase.DONE, Phase.FAILED}:
            spent = (transition.at - began.at).total_seconds()
            seconds[transition.step] = seconds.get(transition.step, 0.0) + spent
            began = None
    return [StepTime(step=step, seconds=spent) for step, spent in seconds.items()]


def _downtime(transitions: Iterable[Transition]) -> float | None:
    """Measure from the first `stop-application` to the last `start-application`, or its undoing."""
    down: datetime | None = None
    up: datetime | None = None
    for transition in transitions:
        key = (transition.step, transition.phase)
        if key == ("stop-application", Phase.DOING) and down is None:
            down = transition.at
        elif key in {("start-application", Phase.DONE), ("stop-application", Phase.UNDONE)}:
            up = transition.at
    return (up - down).total_seconds() if down and up else None


def refuse_unfinished(run: str, stores: Sequence[ObjectStore], emit: Emit) -> None:
    """Raise PrecheckRefused where a run still waits; one that nobody here knows is let through."""
    journal = Journal(run, stores, emit)
    if journal.transitions and not journal.last.over:
        raise PrecheckRefused(
            f"run `{run}` is not over: what it has kept is the way back",
            hint=f"alexandria run resume {run}   # or: alexandria run abort {run}",
        )
