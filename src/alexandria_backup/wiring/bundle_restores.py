"""Restoring bundles, and what comes afterwards: the way back, or giving it up."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.runbooks import bundle_restore as restoring
from alexandria_backup.runbooks import bundle_rollback as rolling_back
from alexandria_backup.runbooks.bundle_restore_parts import BundleRestoreParts
from alexandria_backup.runbooks.bundle_state import (
    BundleAcceptState,
    BundleRestoreRequest,
    BundleRestoreState,
    BundleRollbackState,
    SwapState,
)
from alexandria_backup.runbooks.journal import existing
from alexandria_backup.runbooks.procedure import Procedure, refuse_unfinished
from alexandria_backup.runbooks.step import Runbook
from alexandria_backup.runbooks.transition import Transition, read_state
from alexandria_backup.wiring.bundle_opening import open_bundle, restore_lock
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.runs import Rebuild, Rebuilt, begin, new_run


@dataclass(frozen=True, kw_only=True)
class BundleRestores:
    """What `backup restore` does, and what `rollback` and `run accept` do with bundles."""

    rooms: Rooms

    @property
    def rebuild(self) -> Mapping[str, Rebuild]:
        """How each runbook of this family is built from its journal."""
        return {
            restoring.NAME: self._stopped_restore,
            rolling_back.ROLLBACK: self._stopped_rollback,
            rolling_back.ACCEPT: lambda _: Rebuilt(
                runbook=rolling_back.bundle_accept_runbook(), lock=self._lock
            ),
        }

    def restore(
        self, name: str, *, to: str, sets: tuple[str, ...] | None
    ) -> Procedure[BundleRestoreState]:
        """Return the restore of a bundle to `/`, or to a folder that stands for it."""
        request = BundleRestoreRequest(source=_absolute(name), to=_absolute(to), sets=sets)
        state = BundleRestoreState(run=new_run(restoring.NAME), request=request)
        return begin(self.rooms, self._restore_runbook(request), state, lock=self._lock)

    def is_restore(self, run: str) -> bool:
        """Tell whether a run has exchanged what came out of a bundle."""
        return run.startswith((f"{restoring.NAME}-", f"{rolling_back.ROLLBACK}-"))

    def rollback(self, of_run: str) -> Procedure[BundleRollbackState]:
        """Return the way back from a restore of a bundle."""
        done = self._finished(of_run)
        run = new_run(rolling_back.ROLLBACK)
        state = BundleRollbackState(
            run=run, of_run=of_run, live=done.live, roots=rolling_back.roots_back(done, run)
        )
        return begin(self.rooms, self._rollback_runbook(state), state, lock=self._lock)

    def accept(self, of_run: str) -> Procedure[BundleAcceptState]:
        """Return the removal of what a restore of a bundle has kept."""
        kept = rolling_back.kept_by(self._finished(of_run).roots)
        state = BundleAcceptState(run=new_run(rolling_back.ACCEPT), of_run=of_run, kept=kept)
        runbook = rolling_back.bundle_accept_runbook()
        return begin(self.rooms, runbook, state, lock=self._lock)

    def _restore_runbook(self, request: BundleRestoreRequest) -> Runbook[BundleRestoreState]:
        parts = BundleRestoreParts(
            bundle=open_bundle(self.rooms, request.source),
            trusted=self.rooms.trusted_keys,
            application=lambda: self.rooms.node,
            emit=self.rooms.emit,
        )
        return restoring.bundle_restore_runbook(parts, request)

    def _rollback_runbook(self, state: SwapState) -> Runbook[BundleRollbackState]:
        parts = rolling_back.BundleRollbackParts(application=self.rooms.node, emit=self.rooms.emit)
        return rolling_back.bundle_rollback_runbook(parts, live=state.live)

    def _stopped_restore(self, last: Transition) -> Rebuilt[BundleRestoreState]:
        request = read_state(BundleRestoreState, last).request
        return Rebuilt(runbook=self._restore_runbook(request), lock=self._lock)

    def _stopped_rollback(self, last: Transition) -> Rebuilt[BundleRollbackState]:
        state = read_state(BundleRollbackState, last)
        return Rebuilt(runbook=self._rollback_runbook(state), lock=self._lock)

    def _finished(self, run: str) -> SwapState:
        """Return what a run that is over has exchanged."""
        refuse_unfinished(run, self.rooms.journal_stores, self.rooms.emit)
        last = existing(run, self.rooms.journal_stores, self.rooms.emit).last
        kind = BundleRestoreState if last.runbook == restoring.NAME else BundleRollbackState
        return read_state(kind, last)

    def _lock(self) -> AbstractContextManager[None]:
        return restore_lock(self.rooms)


def _absolute(name: str) -> str:
    """Make a path absolute: a journal must mean the same place from every folder."""
    return name if "://" in name else str(Path(name).expanduser().absolute())
