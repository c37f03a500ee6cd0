"""Carries out runbooks: does the steps, journals each transition, undoes what failed."""

import time
from contextlib import suppress
from typing import Generic, NoReturn, TypeVar

from alexandria_backup.errors import (
    AlexandriaError,
    ApplicationNotReady,
    Interrupted,
    PlatformRefused,
    RestoreStopped,
    RestoreUndone,
    UsageError,
)
from alexandria_backup.events import (
    Emit,
    RunFinished,
    RunStarted,
    StepFailed,
    StepFinished,
    StepStarted,
    StepUndone,
)
from alexandria_backup.runbooks.journal import Journal
from alexandria_backup.runbooks.step import Confirm, Runbook, RunState, Step
from alexandria_backup.runbooks.transition import Phase, read_state

S = TypeVar("S", bound=RunState)


class Runner(Generic[S]):
    """Carries out one run of a runbook, from the start or from where its journal ends."""

    def __init__(self, runbook: Runbook[S], journal: Journal, emit: Emit) -> None:
        self._runbook = runbook
        self._journal = journal
        self._emit = emit
        self._began = time.monotonic()

    def start(self, state: S, confirm: Confirm[S]) -> S:
        """Do all steps and return the final state; `confirm` is asked before the first change.

        Raises the step's own error where nothing was changed yet, RestoreUndone where all was
        undone, RestoreStopped where the run waits for `run resume` or `run abort`, and
        ApplicationNotReady or PlatformRefused where the commit point was passed.
        """
        self._write(Phase.STARTED, None, state)
        self._emit(RunStarted(run=state.run, runbook=self._runbook.name, resumed=False))
        return self._do_from(0, state, confirm)

    def resume(self, confirm: Confirm[S]) -> S:
        """Go on where the journal ends; a run that was being undone is undone to its end.

        `confirm` is asked where the run ended before its first change.
        """
        last = self._journal.last
        if last.over:
            raise UsageError(f"run `{last.run}` is over: it {_outcome(last.phase)}")
        if last.phase in {Phase.UNDOING, Phase.UNDONE}:
            return self.abort()
        state = self.state()
        position = 0 if last.step is None else self._runbook.index(last.step)
        if last.phase is Phase.DONE:
            position += 1
        self._emit(RunStarted(run=state.run, runbook=self._runbook.name, resumed=True))
        return self._do_from(position, state, confirm)

    def abort(self) -> S:
        """Undo, in reverse order, every step that the journal says was begun."""
        last = self._journal.last
        if last.over:
            rollback = self._runbook.replaces_live and last.phase is Phase.FINISHED
            raise UsageError(
                f"run `{last.run}` is over: it {_outcome(last.phase)}",
                hint=f"alexandria rollback {last.run}" if rollback else None,
            )
        state = self.state()
        self._emit(RunStarted(run=state.run, runbook=self._runbook.name, resumed=True))
        position = -1 if last.step is None else self._runbook.index(last.step)
        if last.phase is Phase.UNDONE:
            position -= 1
        return self._undo_from(position, state)

    def state(self) -> S:
        """Return the state of the newest transition."""
        return read_state(self._runbook.state_type, self._journal.last)

    def _do_from(self, position: int, state: S, confirm: Confirm[S]) -> S:
        steps = self._runbook.steps
        asked = self._begun()
        for number, step in enumerate(steps[position:], start=position):
            if step.changes and not asked:
                self._ask(confirm, state, number)
                asked = True
            try:
                state = self._do(step, number, state)
            except BaseException as error:  # noqa: BLE001 - `_fail` undoes and raises again
                self._fail(number, state, error, changed=asked)
        self._write(Phase.FINISHED, None, state)
        self._finished(state, "done with warnings" if state.warnings else "done")
        return state

    def _begun(self) -> bool:
        """Tell whether a step that changes something was begun: the operator has agreed then."""
        changing = {step.name for step in self._runbook.steps if step.changes}
        return any(
            line.phase is Phase.DOING and line.step in changing
            for line in self._journal.transitions
        )

    def _ask(self, confirm: Confirm[S], state: S, number: int) -> None:
        """Ask; nothing has been changed, so a refusal leaves nothing to undo."""
        try:
            confirm(state)
        except BaseException:
            self._undo_from(number - 1, state)
            raise

    def _do(self, step: Step[S], number: int, state: S) -> S:
        self._emit(
            StepStarted(
                run=state.run,
                step=step.name,
                sentence=step.explain(state).sentence,
                number=number + 1,
                of=len(self._runbook.steps),
            )
        )
        self._write(Phase.DOING, step, state)
        began = time.monotonic()
        done = step.do(state)
        self._write(Phase.DONE, step, done.state)
        self._emit(
            StepFinished(
                run=state.run,
                step=step.name,
                seconds=time.monotonic() - began,
                result=done.result,
            )
        )
        return done.state

    def _fail(self, number: int, state: S, error: BaseException, *, changed: bool) -> NoReturn:
        """Undo what can be undone and raise what the operator has to know."""
        step = self._runbook.steps[number]
        what = _describe(error)
        self._emit(StepFailed(run=state.run, step=step.name, message=what))
        with suppress(AlexandriaError):  # the first error is the one to tell
            self._write(Phase.FAILED, step, state, message=what)
        if self._runbook.is_past_commit(number):
            raise self._stopped(state, step, error) from error
        self._undo_or_stop(number, state, error)
        if isinstance(error, KeyboardInterrupt | Interrupted):
            raise Interrupted(f"`{state.run}` was interrupted; nothing changed") from error
        if not changed or not self._runbook.replaces_live:
            raise error
        raise RestoreUndone(
            f"step `{step.name}` failed and the run was undone, nothing changed: {what}",
            hint=getattr(error, "hint", None),
        ) from error

    def _undo_or_stop(self, number: int, state: S, error: BaseException) -> None:
        try:
            self._undo_from(number, state)
        except BaseException as second:
            if not self._runbook.replaces_live:
                raise error from second
            step = self._runbook.steps[number]
            raise RestoreStopped(
                f"step `{step.name}` failed ({_describe(error)}) "
                f"and could not be undone: {_describe(second)}",
                hint=f"alexandria run abort {state.run}",
            ) from error

    def _stopped(self, state: S, step: Step[S], error: BaseException) -> AlexandriaError:
        if isinstance(error, RestoreStopped):
            return error
        hint = f"alexandria run resume {state.run}   # or: alexandria rollback"
        if isinstance(error, ApplicationNotReady | PlatformRefused):
            return type(error)(error.message, hint=hint)
        return RestoreStopped(
            f"step `{step.name}` failed after the new database took over: {_describe(error)}",
            hint=hint,
        )

    def _undo_from(self, position: int, state: S) -> S:
        for step in reversed(self._runbook.steps[: position + 1]):
            if step.changes:
                self._write(Phase.UNDOING, step, state)
                state = step.undo(state)
                self._write(Phase.UNDONE, step, state)
                self._emit(StepUndone(run=state.run, step=step.name))
        self._write(Phase.ABORTED, None, state)
        self._finished(state, "undone")
        return state

    def _finished(self, state: S, outcome: str) -> None:
        seconds = time.monotonic() - self._began
        self._emit(RunFinished(run=state.run, outcome=outcome, seconds=seconds))

    def _write(
        self, phase: Phase, step: Step[S] | None, state: S, message: str | None = None
    ) -> None:
        self._journal.write(
            phase,
            runbook=self._runbook.name,
            step=step.name if step else None,
            state=state,
            message=message,
        )


def _describe(error: BaseException) -> str:
    if isinstance(error, AlexandriaError):
        return error.message
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    # An unexpected error may quote anything: its type is enough for the journal.
    return f"unexpected {type(error).__name__}"


def _outcome(phase: Phase) -> str:
    return "was done" if phase is Phase.FINISHED else "was undone"
