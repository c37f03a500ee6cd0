"""Restoring, swapping back, and accepting what was restored."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.shadow import is_reserved
from alexandria_backup.runbooks import accept as accepting
from alexandria_backup.runbooks import restore as restoring
from alexandria_backup.runbooks import rollback as rolling_back
from alexandria_backup.runbooks.accept import SafetyTaker
from alexandria_backup.runbooks.accept_in_place import accept_in_place_runbook
from alexandria_backup.runbooks.kept import is_kept_in_place
from alexandria_backup.runbooks.procedure import Procedure, refuse_unfinished
from alexandria_backup.runbooks.recording import record_restore
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreChoices, RestoreRequest, RestoreState
from alexandria_backup.runbooks.rollback_in_place import rollback_in_place_runbook
from alexandria_backup.runbooks.step import Runbook
from alexandria_backup.runbooks.switch import SwitchState, refuse_other_server
from alexandria_backup.runbooks.transition import Transition, read_state
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.runs import Rebuild, Rebuilt, begin, new_run
from alexandria_backup.wiring.snapshot_taking import SnapshotTaking


@dataclass(frozen=True, kw_only=True)
class Restores:
    """What `alexandria restore`, `rollback` and `run accept` do."""

    rooms: Rooms
    places: Places
    taking: SnapshotTaking

    @property
    def rebuild(self) -> Mapping[str, Rebuild]:
        """How each runbook of this family is built from its journal."""
        return {
            restoring.NAME: self._stopped_restore,
            rolling_back.NAME: self._stopped_rollback,
            accepting.NAME: self._stopped_accept,
        }

    def restore(
        self,
        name: str,
        choices: RestoreChoices,
        *,
        jobs: int | None = None,
    ) -> Procedure[RestoreState]:
        """Return the restore of a snapshot: an id or `latest` of the repository, or a file.

        `jobs` connections load at once, by default as many as the settings say.
        """
        _refuse_contradictions(choices)
        location, archive = self.places.locate(name)
        request = RestoreRequest(
            **dict(choices),
            store=location,
            archive=archive,
            jobs=jobs or self.rooms.settings.database.jobs,
        )
        state = RestoreState(
            run=new_run(restoring.NAME), target=self.rooms.servers.database, request=request
        )
        return begin(
            self.rooms, self._restore_runbook(request), state, lock=self.rooms.database_lock
        )

    def record(self, state: RestoreState) -> None:
        """Write down in the ledger, where there is one, that a restore was done."""
        if self.rooms.opened is not None:
            record_restore(self.rooms.opened, state, self.rooms.emit)

    def rollback(self, of_run: str | None, *, plan: bool) -> Procedure[rolling_back.RollbackState]:
        """Return the swap back to what a run has kept."""
        target = self.rooms.servers.database
        in_place = is_kept_in_place(self.rooms.servers, target=target, run=of_run)
        state = rolling_back.RollbackState(
            run=new_run(rolling_back.NAME), target=target, of_run=of_run, in_place=in_place
        )
        runbook = self._rollback_runbook(compare=not plan, in_place=in_place)
        return begin(self.rooms, runbook, state, lock=self.rooms.database_lock)

    def accept(self, of_run: str, *, discard: bool) -> Procedure[accepting.AcceptState]:
        """Return the dropping of what a run has kept."""
        refuse_unfinished(of_run, self.rooms.journal_stores, self.rooms.emit)
        target = self.rooms.servers.database
        in_place = is_kept_in_place(self.rooms.servers, target=target, run=of_run, dropping=True)
        state = accepting.AcceptState(
            run=new_run(accepting.NAME),
            target=target,
            of_run=of_run,
            discard=discard,
            in_place=in_place,
        )
        runbook = self._accept_runbook(in_place=in_place)
        return begin(self.rooms, runbook, state, lock=self.rooms.database_lock)

    def _restore_runbook(self, request: RestoreRequest) -> Runbook[RestoreState]:
        settings = self.rooms.settings
        parts = RestoreParts(
            servers=self.rooms.servers,
            application=self.rooms.application,
            place=self.places.place(request.store),
            chain=self.rooms.chain,
            # To ask a program for its version takes a process.
            tools=cache(self.rooms.tools),
            safety=self._safety,
            checks=self.rooms.checks,
            server_free_bytes=settings.database.server_free_space,
            server_reserve_bytes=settings.database.server_reserve,
            server_memory_bytes=settings.database.server_memory,
            fence_patience_s=settings.database.fence_timeout_s,
            emit=self.rooms.emit,
        )
        return restoring.restore_runbook(
            parts,
            beside=request.to_database is not None,
            stop_first=request.stop_first,
            create_roles=request.create_roles,
            in_place=request.in_place,
        )

    def _rollback_runbook(
        self, *, compare: bool, in_place: bool
    ) -> Runbook[rolling_back.RollbackState]:
        parts = rolling_back.RollbackParts(
            servers=self.rooms.servers,
            application=self.rooms.application,
            checks=self.rooms.checks,
            fence_patience_s=self.rooms.settings.database.fence_timeout_s,
            compare=compare,
            emit=self.rooms.emit,
        )
        if in_place:
            return rollback_in_place_runbook(parts)
        return rolling_back.rollback_runbook(parts)

    def _accept_runbook(self, *, in_place: bool) -> Runbook[accepting.AcceptState]:
        parts = accepting.AcceptParts(
            servers=self.rooms.servers, safety=self._safety, emit=self.rooms.emit
        )
        return accept_in_place_runbook(parts) if in_place else accepting.accept_runbook(parts)

    @property
    def _safety(self) -> SafetyTaker | None:
        return self.taking.take_safety if self.rooms.settings.repository else None

    def _stopped_restore(self, last: Transition) -> Rebuilt[RestoreState]:
        runbook = self._restore_runbook(read_state(RestoreState, last).request)
        return Rebuilt(runbook=runbook, guard=self._same_server)

    def _stopped_rollback(self, last: Transition) -> Rebuilt[rolling_back.RollbackState]:
        in_place = read_state(rolling_back.RollbackState, last).in_place
        runbook = self._rollback_runbook(compare=True, in_place=in_place)
        return Rebuilt(runbook=runbook, guard=self._same_server)

    def _stopped_accept(self, last: Transition) -> Rebuilt[accepting.AcceptState]:
        in_place = read_state(accepting.AcceptState, last).in_place
        return Rebuilt(runbook=self._accept_runbook(in_place=in_place))

    def _same_server(self, state: SwitchState) -> None:
        refuse_other_server(self.rooms.servers, state)


def _refuse_name(name: str) -> None:
    """A copy under a name of ours would stand in the way of the run that needs it."""
    another = "choose another `--to-database`, such as `copy`"
    if not name:
        raise UsageError("the name for the new database is empty", hint=another)
    if is_reserved(name):
        raise UsageError(
            f"`{name}` is a name that runs give to databases of their own", hint=another
        )


def _refuse_contradictions(choices: RestoreChoices) -> None:
    if choices.in_place and choices.to_database is not None:
        raise UsageError(
            "`--in-place` loads into the live database, and `--to-database` into another one",
            hint="leave one of them out",
        )
    if choices.to_database is not None:
        _refuse_name(choices.to_database)
    if choices.tables and choices.to_database is None:
        raise UsageError(
            "some tables alone cannot take the place of a database",
            hint="add `--to-database NAME`",
        )
    if choices.no_owner and (choices.create_roles or choices.map_owner):
        raise UsageError(
            "without owners and privileges no role is created or replaced",
            hint="leave out `--no-owner`, or `--create-roles` and `--map-owner`",
        )
