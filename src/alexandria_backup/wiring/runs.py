"""Beginning a run, and going on with one that stopped.

A family of procedures says for each of its runbooks how it is built from the journal's last line
(`Rebuild`); `wiring.py` collects these by the runbook's name, so that a new runbook is one line
there.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar

from alexandria_backup.errors import JournalInvalid
from alexandria_backup.runbooks.journal import Journal, existing, new_run_id
from alexandria_backup.runbooks.procedure import (
    Lock,
    Procedure,
    RunStatus,
    RunSummary,
    all_runs,
)
from alexandria_backup.runbooks.step import Confirm, Runbook, RunState
from alexandria_backup.runbooks.transition import Transition
from alexandria_backup.wiring.rooms import Rooms

S = TypeVar("S", bound=RunState)


@dataclass(frozen=True, kw_only=True)
class Rebuilt(Generic[S]):
    """A runbook to go on with."""

    runbook: Runbook[S]
    #: Raises where the state of the journal must not be gone on with.
    guard: Callable[[S], None] = lambda _: None
    #: Held while it works; None: the lock of the application's database.
    lock: Lock | None = None


#: From the last line of a journal to its runbook.
Rebuild: TypeAlias = Callable[[Transition], Rebuilt[Any]]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs that this machine or the repository knows."""

    rooms: Rooms
    #: How each runbook is built, by its name; asked for only where a run goes on.
    rebuild: Callable[[], Mapping[str, Rebuild]]

    def all(self) -> tuple[RunStatus, ...]:
        """Return the status of each, oldest first."""
        return all_runs(self.rooms.journal_stores, self.rooms.emit)

    def journal(self, run: str) -> Journal:
        """Return the journal of a run; raises JournalInvalid where there is none."""
        return existing(run, self.rooms.journal_stores, self.rooms.emit)

    def resume(self, run: str, confirm: Confirm[Any]) -> RunSummary[RunState]:
        """Go on with a run that stopped."""
        return self._stopped(run).resume(confirm)

    def abort(self, run: str) -> RunSummary[RunState]:
        """Undo a run that stopped."""
        return self._stopped(run).abort()

    def _stopped(self, run: str) -> Procedure[Any]:
        last = self.journal(run).last
        rebuild = self.rebuild().get(last.runbook)
        if rebuild is None:
            raise JournalInvalid(
                f"run `{run}` is of runbook `{last.runbook}`, which this version does not know"
            )
        rebuilt = rebuild(last)
        return Procedure(
            rebuilt.runbook,
            state=None,
            run=run,
            stores=self.rooms.journal_stores,
            lock=rebuilt.lock or self.rooms.database_lock,
            emit=self.rooms.emit,
            guard=rebuilt.guard,
        )


def new_run(runbook: str) -> str:
    """Return the id of a run that begins now."""
    return new_run_id(runbook, datetime.now(UTC))


def begin(
    rooms: Rooms,
    runbook: Runbook[S],
    state: S,
    *,
    lock: Lock = nullcontext,
    journalled: bool = True,
) -> Procedure[S]:
    """Return a procedure that starts at `state`; one that is part of another run has no journal."""
    return Procedure(
        runbook,
        state=state,
        run=state.run,
        stores=rooms.journal_stores if journalled else (),
        lock=lock,
        emit=rooms.emit,
    )
