"""The one place that turns settings into objects; it has no logic of its own.

A command asks for what it needs by name; everything is built when it is asked for, so that a
command that needs no database works without one.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import recipe_named
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.credentials.local import EnvironmentSource, FileSource
from alexandria_backup.credentials.source import FoundDsn, find_dsn
from alexandria_backup.errors import JournalInvalid, SettingsInvalid, SnapshotMissing
from alexandria_backup.events import Emit
from alexandria_backup.platforms.readiness import ReadinessProbe
from alexandria_backup.platforms.unmanaged import UnmanagedPlatform
from alexandria_backup.postgres.client_tools import ClientTools, find_client_tools
from alexandria_backup.postgres.connect import Timeouts
from alexandria_backup.repository.file_snapshots import FileSnapshots, SnapshotEntry
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.runbooks import accept as accepting
from alexandria_backup.runbooks import doctor as doctors
from alexandria_backup.runbooks import restore as restoring
from alexandria_backup.runbooks import rollback as rolling_back
from alexandria_backup.runbooks import snapshot as snapshotting
from alexandria_backup.runbooks.chain_reader import ChainReader, ChainSeen, require
from alexandria_backup.runbooks.journal import Journal, existing, new_run_id, read_state
from alexandria_backup.runbooks.procedure import (
    Lock,
    Procedure,
    RunStatus,
    RunSummary,
    all_runs,
    refuse_unfinished,
)
from alexandria_backup.runbooks.restore_prepare import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreRequest, RestoreState
from alexandria_backup.runbooks.run_lock import run_lock
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Confirm, Runbook, RunState
from alexandria_backup.runbooks.switch import Application, refuse_other_server
from alexandria_backup.runbooks.verify import Verdict, verify_snapshot, warn_of_newer
from alexandria_backup.sealing.signing import SigningKey, TrustedKey
from alexandria_backup.settings.loading import load
from alexandria_backup.settings.model import Settings
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.locate import is_missing_folder, open_store, split_location
from alexandria_backup.storage.retry import RetryingStore
from alexandria_backup.storage.store import ObjectStore

S = TypeVar("S", bound=RunState)


@dataclass(frozen=True)
class Wiring:
    """Settings, and everything that is made of them."""

    settings: Settings
    emit: Emit
    #: The option that goes before every other source of the DSN.
    dsn_file: Path | None = None

    @classmethod
    def load(
        cls,
        *,
        config: Path | None,
        environ: Mapping[str, str],
        cwd: Path,
        dsn_file: Path | None,
        emit: Emit,
    ) -> "Wiring":
        """Load the settings; raises SettingsInvalid."""
        loaded = load(config=config, environ=environ, cwd=cwd)
        return cls(settings=loaded.settings, emit=emit, dsn_file=dsn_file)

    # -- rooms ---------------------------------------------------------------------------------

    @cached_property
    def found_dsn(self) -> FoundDsn:
        """The application's DSN and where it was found."""
        database = self.settings.database
        return find_dsn(
            (
                FileSource(given_as="--dsn-file", path=self.dsn_file, emit=self.emit),
                EnvironmentSource(variable="ALEXANDRIA_DSN", value=self.settings.dsn),
                FileSource(given_as="[database] dsn_file", path=database.dsn_file, emit=self.emit),
            )
        )

    @cached_property
    def servers(self) -> Servers:
        """The application's server."""
        database = self.settings.database
        administrator = FileSource(
            given_as="[database] admin_dsn_file", path=database.admin_dsn_file, emit=self.emit
        )
        return Servers(
            application=self.found_dsn.dsn,
            administrator=find_dsn((administrator,)).dsn if administrator.configured() else None,
            timeouts=Timeouts(connect=database.connect_timeout_s, lock=database.lock_timeout_s),
        )

    @cached_property
    def application(self) -> Application:
        """The application and what runs it."""
        settings = self.settings.application
        probe = ReadinessProbe(url=settings.url, ca_file=settings.ca_file) if settings.url else None
        return Application(
            platform=UnmanagedPlatform(
                stop_command=settings.stop_command,
                start_command=settings.start_command,
                timeout_s=settings.command_timeout_s,
            ),
            probe=probe,
            patience_s=settings.ready_timeout_s,
        )

    @cached_property
    def repository(self) -> ObjectStore | None:
        """The store of the settings; None where none is set."""
        return _store(self.settings.repository) if self.settings.repository else None

    @cached_property
    def state(self) -> ObjectStore:
        """The folder in which this machine keeps journals."""
        folder = self.settings.state_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsInvalid(
                f"the state folder `{folder}` cannot be made: {error.strerror}",
                hint="export ALEXANDRIA_STATE_DIR=…   # a folder that this user can write",
            ) from error
        return LocalStore(folder)

    @property
    def journal_stores(self) -> tuple[ObjectStore, ...]:
        """Where journals are kept: on this machine, and in the repository."""
        named = self.settings.repository
        # A folder that is not there yet holds no journals; whoever needs it will say so.
        if self.repository is None or (named and is_missing_folder(named)):
            return (self.state,)
        return (self.state, self.repository)

    @cached_property
    def chain(self) -> ChainReader:
        """Recipe and key of the audit chain."""
        audit = self.settings.audit
        return ChainReader(
            recipe=recipe_named(audit.recipe),
            key=AuditKey.load(audit.key_file, audit.key_encoding) if audit.key_file else None,
            table=_qualified(audit.table) if audit.table else None,
        )

    @cached_property
    def signing_key(self) -> SigningKey | None:
        """The key that signs manifests; None where none is set."""
        signing = self.settings.signing
        if signing.key_file is None:
            return None
        return SigningKey.load(signing.key_file, name=signing.key_name)

    def tools(self, server_major: int) -> ClientTools:
        """Return PostgreSQL's programs for a server of this major version."""
        return find_client_tools(server_major, configured=self.settings.database.client_tools)

    def snapshots(self, location: str | None = None) -> FileSnapshots:
        """Return the snapshots of a place, or of the repository; raises SettingsInvalid."""
        store = _store(location) if location else self.repository
        if store is None:
            raise SettingsInvalid(
                "no repository is set",
                hint="export ALEXANDRIA_REPOSITORY=/var/backups/alexandria",
            )
        trusted = tuple(TrustedKey.parse(text) for text in self.settings.signing.trusted_keys)
        return FileSnapshots(store=store, trusted=trusted)

    # -- procedures ----------------------------------------------------------------------------

    def snapshot(
        self,
        *,
        file: str | None,
        kind: SnapshotKind,
        note: str | None,
        database: str | None = None,
        journalled: bool = True,
    ) -> Procedure[snapshotting.SnapshotState]:
        """Return the taking of a snapshot into `file`, or into the repository."""
        location, archive = _target(file) if file else (None, None)
        run = self._new_run(snapshotting.NAME)
        state = snapshotting.SnapshotState(
            run=run,
            database=database or self.servers.database,
            application=self.settings.application.name,
            kind=kind,
            note=note,
            store=self.snapshots(location).store.url,
            archive=archive,
        )
        return Procedure(
            self._snapshot_runbook(location),
            state=state,
            run=run,
            stores=self.journal_stores if journalled else (),
            lock=nullcontext,
            emit=self.emit,
        )

    def restore(
        self,
        name: str,
        *,
        to_database: str | None,
        stop_first: bool,
        no_owner: bool,
        yes_different: bool,
        accept_chain: bool,
        jobs: int | None,
        reason: str | None,
    ) -> Procedure[RestoreState]:
        """Return the restore of a snapshot: an id or `latest` of the repository, or a file."""
        location, archive = self._locate(name)
        request = RestoreRequest(
            store=location,
            archive=archive,
            to_database=to_database,
            stop_first=stop_first,
            no_owner=no_owner,
            yes_different=yes_different,
            accept_chain=accept_chain,
            jobs=jobs or self.settings.database.jobs,
            reason=reason,
        )
        run = self._new_run(restoring.NAME)
        state = RestoreState(run=run, target=self.servers.database, request=request)
        return self._procedure(self._restore_runbook(request), state, run, self._lock)

    def rollback(self, of_run: str | None, *, plan: bool) -> Procedure[rolling_back.RollbackState]:
        """Return the swap back to what a run has kept."""
        run = self._new_run(rolling_back.NAME)
        state = rolling_back.RollbackState(run=run, target=self.servers.database, of_run=of_run)
        return self._procedure(self._rollback_runbook(compare=not plan), state, run, self._lock)

    def accept(self, of_run: str, *, discard: bool) -> Procedure[accepting.AcceptState]:
        """Return the dropping of what a run has kept."""
        refuse_unfinished(of_run, self.journal_stores, self.emit)
        run = self._new_run(accepting.NAME)
        state = accepting.AcceptState(
            run=run, target=self.servers.database, of_run=of_run, discard=discard
        )
        return self._procedure(self._accept_runbook(), state, run, self._lock)

    def resume(self, run: str, confirm: Confirm[Any]) -> RunSummary[RunState]:
        """Go on with a run that stopped."""
        return self._stopped(run).resume(confirm)

    def abort(self, run: str) -> RunSummary[RunState]:
        """Undo a run that stopped."""
        return self._stopped(run).abort()

    def runs(self) -> tuple[RunStatus, ...]:
        """Return all runs that this machine or the repository knows."""
        return all_runs(self.journal_stores, self.emit)

    def journal(self, run: str) -> Journal:
        """Return the journal of a run; raises JournalInvalid where there is none."""
        return existing(run, self.journal_stores, self.emit)

    def entry(self, name: str) -> SnapshotEntry:
        """Return the snapshot of an id, of `latest`, or of a path or URL."""
        location, archive = self._locate(name)
        return self.snapshots(location).find(archive)

    def verify(self, name: str) -> Verdict:
        """Read a snapshot in full and compare it with its manifest."""
        location, archive = self._locate(name)
        snapshots = self.snapshots(location)
        return verify_snapshot(snapshots, snapshots.find(archive), self.chain, self.emit)

    def audit(self, name: str | None) -> AuditReport | None:
        """Verify the audit chain of the live database, or of a snapshot; None where is none."""
        if name is None:
            with self.servers.session(self.servers.database, "audit") as session:
                return self.chain.live(session)
        location, archive = self._locate(name)
        return self.chain.archive(self.snapshots(location).store, archive, self.emit)[1]

    def require_chain(self, seen: ChainSeen | None, where: str) -> None:
        """Raise AuditBroken or AuditUnverified as `[audit] required` says."""
        require(seen, required=self.settings.audit.required, where=where)

    def doctor(self) -> tuple[doctors.Finding, ...]:
        """Check everything that can be checked beforehand."""
        return doctors.examine(
            doctors.DoctorParts(
                servers=lambda: (self.servers, self.found_dsn.source),
                tools=self.tools,
                repository=(lambda: self.snapshots().store) if self.settings.repository else None,
                newest=self._newest,
                state_dir=self.settings.state_dir,
                chain=lambda: self.chain,
                chain_required=self.settings.audit.required,
                application=lambda: self.application,
                server_free_bytes=self.settings.database.server_free_space,
                path=tuple(Path(d) for d in os.environ.get("PATH", "").split(os.pathsep) if d),
                program=Path(sys.argv[0]).absolute(),
            )
        )

    def _newest(self) -> Manifest | None:
        try:
            return (
                self.snapshots()
                .latest(application=self.settings.application.name, database=self.servers.database)
                .manifest
            )
        except SnapshotMissing:
            return None

    # -- runbooks ------------------------------------------------------------------------------

    def _snapshot_runbook(self, location: str | None) -> Runbook[snapshotting.SnapshotState]:
        return snapshotting.snapshot_runbook(
            snapshotting.SnapshotParts(
                servers=self.servers,
                snapshots=self.snapshots(location),
                tools=self.tools,
                chain=self.chain,
                key=self.signing_key,
                options=self.settings.snapshot.pg_dump_options,
                emit=self.emit,
            )
        )

    def _restore_runbook(self, request: RestoreRequest) -> Runbook[RestoreState]:
        parts = RestoreParts(
            servers=self.servers,
            application=self.application,
            snapshots=self.snapshots(request.store),
            chain=self.chain,
            tools=self.tools,
            safety=self._take_safety if self.settings.repository else None,
            checks=self.settings.application.checks,
            server_free_bytes=self.settings.database.server_free_space,
            fence_patience_s=self.settings.database.fence_timeout_s,
            emit=self.emit,
        )
        return restoring.restore_runbook(
            parts, beside=request.to_database is not None, stop_first=request.stop_first
        )

    def _rollback_runbook(self, *, compare: bool) -> Runbook[rolling_back.RollbackState]:
        return rolling_back.rollback_runbook(
            rolling_back.RollbackParts(
                servers=self.servers,
                application=self.application,
                fence_patience_s=self.settings.database.fence_timeout_s,
                compare=compare,
                emit=self.emit,
            )
        )

    def _accept_runbook(self) -> Runbook[accepting.AcceptState]:
        safety = self._take_safety if self.settings.repository else None
        return accepting.accept_runbook(
            accepting.AcceptParts(servers=self.servers, safety=safety, emit=self.emit)
        )

    def _take_safety(self, database: str, note: str) -> str:
        # Part of another run: that one's journal tells of it.
        procedure = self.snapshot(
            file=None, kind=SnapshotKind.SAFETY, note=note, database=database, journalled=False
        )
        return procedure.run(lambda _: None).state.snapshot

    def _stopped(self, run: str) -> Procedure[Any]:
        """Return the procedure of a journal, to go on with it."""
        last = self.journal(run).last
        if last.runbook == restoring.NAME:
            restore = self._restore_runbook(read_state(RestoreState, last).request)
            return self._going_on(restore, run, lambda s: refuse_other_server(self.servers, s))
        if last.runbook == rolling_back.NAME:
            rollback = self._rollback_runbook(compare=True)
            return self._going_on(rollback, run, lambda s: refuse_other_server(self.servers, s))
        if last.runbook == accepting.NAME:
            return self._going_on(self._accept_runbook(), run, lambda _: None)
        if last.runbook == snapshotting.NAME:
            store = read_state(snapshotting.SnapshotState, last).store
            return self._going_on(self._snapshot_runbook(store), run, lambda _: None)
        raise JournalInvalid(
            f"run `{run}` is of runbook `{last.runbook}`, which this version does not know"
        )

    def _going_on(self, runbook: Runbook[S], run: str, guard: Callable[[S], None]) -> Procedure[S]:
        return Procedure(
            runbook,
            state=None,
            run=run,
            stores=self.journal_stores,
            lock=self._lock,
            emit=self.emit,
            guard=guard,
        )

    def _procedure(
        self, runbook: Runbook[S], state: S | None, run: str, lock: Lock
    ) -> Procedure[S]:
        return Procedure(
            runbook, state=state, run=run, stores=self.journal_stores, lock=lock, emit=self.emit
        )

    def _lock(self) -> AbstractContextManager[None]:
        return run_lock(self.servers, self.servers.database)

    def _locate(self, name: str) -> tuple[str, str]:
        """Return store and archive of `latest`, of an id in the repository, or of a file."""
        if name == "latest":
            entry = self.snapshots().latest(
                application=self.settings.application.name, database=self.servers.database
            )
            warn_of_newer(self.snapshots(), entry, self.emit)
            return self.snapshots().store.url, entry.archive
        if "/" in name or Path(name).is_file():
            return _absolute(split_location(name))
        return self.snapshots().store.url, self.snapshots().find(name).archive

    def _new_run(self, runbook: str) -> str:
        return new_run_id(runbook, datetime.now(UTC))


def _store(location: str) -> ObjectStore:
    return RetryingStore(open_store(location))


def _target(file: str) -> tuple[str, str | None]:
    """Return store and name of `--file`; no name where it is a folder or a prefix."""
    if file.endswith("/") or Path(file).is_dir():
        return _absolute((file, ""))[0], None
    return _absolute(split_location(file))


def _absolute(location: tuple[str, str]) -> tuple[str, str]:
    """Make a path absolute: a journal must mean the same place from every folder."""
    store, name = location
    is_path = "://" not in store and not store.startswith("memory:")
    return (str(Path(store).expanduser().absolute()) if is_path else store), name


def _qualified(table: str) -> tuple[str, str]:
    schema, _, name = table.rpartition(".")
    return schema or "public", name
