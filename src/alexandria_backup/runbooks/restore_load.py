"""The steps of a restore that build the replacement: create, load, prove; and what comes last."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.archive.inventory import creates_public_schema
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.copying.load_apart import can_go_on
from alexandria_backup.copying.load_archive import (
    acting_entries,
    load_acting_entries,
    load_archive,
)
from alexandria_backup.copying.loading import Loading, LoadOptions
from alexandria_backup.copying.proof import prove_catalogue, prove_tables
from alexandria_backup.errors import (
    AlexandriaError,
    ClientToolFailed,
    DatabaseMissing,
    DatabaseUnreachable,
    ProofFailed,
    SnapshotDamaged,
    StatementFailed,
    UsageError,
)
from alexandria_backup.events import Emit, Progress, Warned
from alexandria_backup.postgres.activity import subscriptions
from alexandria_backup.postgres.attributes import set_attributes
from alexandria_backup.postgres.catalog import event_triggers, sequences_behind, tables
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.postgres.shadow import (
    Marker,
    create_shadow,
    discard_unfinished,
    drop_database,
    read_marker,
    shadow_name,
)
from alexandria_backup.postgres.swap import name_of, who_is
from alexandria_backup.runbooks.chain_reader import chain_seen, declare_history
from alexandria_backup.runbooks.restore_prepare import RestoreParts
from alexandria_backup.runbooks.restore_state import Proof, RestoreState, Source
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.runbooks.switch import DatabaseRef
from alexandria_backup.sealing.digests import Sha256Tee

_INSUFFICIENT_PRIVILEGE = "42501"
_LOCK_NOT_AVAILABLE = "55P03"
#: Seconds between two looks at a database that is loaded.
_LOOK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class CreateShadow:
    """Create the shadow database beside the live one; its name is the lock."""

    name: ClassVar[str] = "create-shadow"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Give the command that makes it."""
        name = _shadow_name(state)
        return Explanation(
            sentence=f"create database `{name}` with the locale and owner of `{state.target}`",
            commands=(shell("createdb", "--template=template0", name),),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Create it; one that this very run has made is taken as it is."""
        name = _shadow_name(state)
        marker = Marker(run=state.run, role="shadow", of=state.target)
        with self.parts.servers.maintenance() as maintenance:
            found = read_marker(maintenance, name)
            if found is None or found.run != state.run:
                create_shadow(maintenance, name, like=_facts(state), marker=marker)
            shadow = DatabaseRef(name=name, oid=_oid(maintenance, name))
        return Done(state.model_copy(update={"incoming": shadow}), f"`{name}`")

    def undo(self, state: RestoreState) -> RestoreState:
        """Drop it, where it is this run's."""
        name = _shadow_name(state)
        with self.parts.servers.maintenance() as maintenance:
            discard_unfinished(maintenance, state.run)
            marker = read_marker(maintenance, name)
            if marker is not None and marker.run == state.run:
                drop_database(
                    maintenance,
                    name,
                    expected_oid=_oid(maintenance, name),
                    marker_run=state.run,
                )
        return state


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load the archive into the shadow, all but what would act on the world."""

    name: ClassVar[str] = "load"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Give the pg_restore command."""
        owner = ("--no-owner", "--no-privileges") if state.request.no_owner else ()
        name = _shadow_name(state)
        return Explanation(
            sentence=f"load `{state.request.archive}` into `{_shadow_name(state)}`",
            commands=(
                shell(
                    "pg_restore",
                    "--exit-on-error",
                    f"--jobs={state.request.jobs}",
                    *owner,
                    f"--dbname={name}",
                    self.parts.place.as_file(state.request.archive).file,
                ),
                shell("psql", f"--dbname={name}", "-c", "analyze"),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Load it: into what a killed attempt has noted as done, or into a database made anew."""
        goes_on = self._can_go_on(state)
        create = CreateShadow(parts=self.parts)
        # The shadow that a killed attempt has loaded into was made by that attempt, too.
        state = create.do(state if goes_on else create.undo(state)).state
        name = _shadow_name(state)
        self._refuse_changed(state)
        servers = self.parts.servers
        entries = read_entries(self.parts, state)
        with servers.session(name, "load") as shadow:
            major = server_facts(shadow).major
            if creates_public_schema(entries) and not goes_on:
                shadow.execute("DROP SCHEMA IF EXISTS public")
        with growth(servers, name, f"load {state.request.archive}", self.parts.emit):
            load_archive(_loading(self.parts, state, name, entries, major))
        with servers.session(name, "load") as shadow:
            shadow.execute("ANALYZE")
        return Done(state, f"{len(entries)} objects with `pg_restore` {major}")

    def undo(self, state: RestoreState) -> RestoreState:
        """The shadow is dropped as a whole."""
        return state

    def _can_go_on(self, state: RestoreState) -> bool:
        """Tell whether the shadow is this run's, and a part of the very archive is in it."""
        identity = self.parts.place.archive(state.request.archive).identity
        name = _shadow_name(state)
        with self.parts.servers.maintenance() as maintenance:
            marker = read_marker(maintenance, name)
        if identity is None or marker is None or marker.run != state.run:
            return False
        with self.parts.servers.session(name, "load") as shadow:
            return can_go_on(shadow, identity)

    def _refuse_changed(self, state: RestoreState) -> None:
        """What is loaded must be what was read and agreed to."""
        archive = self.parts.place.archive(state.request.archive)
        if (archive.identity or _sha256(archive)) != _source(state).identity:
            raise SnapshotDamaged(
                f"`{state.request.archive}` has changed since it was read",
                hint=f"alexandria run abort {state.run}   # then start anew",
            )


@dataclass(frozen=True, kw_only=True)
class Prove:
    """Compare the shadow with the archive: rows, digests, indexes, sequences, audit chain."""

    name: ClassVar[str] = "prove"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Say what is compared."""
        return Explanation(
            sentence=f"compare `{_shadow_name(state)}` with the archive, row by row",
            commands=("alexandria audit verify",),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise ProofFailed at whatever is not as the archive says."""
        source = _source(state)
        with self.parts.servers.session(_shadow_name(state), "prove") as shadow:
            proved = prove_tables(
                shadow,
                source.tables,
                pinned=source.pinned_rendering,
                encoding=source.encoding,
                emit=self.parts.emit,
            )
            prove_catalogue(
                shadow,
                large_objects=source.large_objects,
                not_validated=source.not_validated,
            )
            state = self._warn_of_sequences(shadow, state)
            chain = self._prove_chain(shadow, source)
            self._run_checks(shadow)
        not_compared = (*proved.not_compared, *self._prove_access(state))
        proof = Proof(
            tables=proved.tables,
            rows=proved.rows,
            digests=proved.digests,
            large_objects=source.large_objects,
            chain=chain,
            checks=len(self.parts.checks),
            not_compared=not_compared,
        )
        said = f"{proof.rows:,} rows in {proof.tables} tables, {proof.digests} row by row"
        return Done(
            state.model_copy(update={"proof": proof}),
            said + (f", audit chain {chain}" if chain else ""),
        )

    def undo(self, state: RestoreState) -> RestoreState:
        """Nothing was changed."""
        return state

    def _warn_of_sequences(self, shadow: Session, state: RestoreState) -> RestoreState:
        """A sequence may have been behind in the source, too: the archive's value was restored."""
        warnings = tuple(
            f"sequence `{item.schema}.{item.name}` would next give {item.next_value}, and "
            f"`{item.column}` holds {item.furthest} already: inserts will collide"
            for item in sequences_behind(shadow)
        )
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        return state.model_copy(update={"warnings": (*state.warnings, *warnings)})

    def _prove_chain(self, shadow: Session, source: Source) -> str | None:
        """The chain in the shadow must be the archive's, to the last row and with its verdict."""
        expected = source.chain
        if expected is None:
            return None
        found = chain_seen(self.parts.chain.live(shadow))
        if found is None or expected != found:
            raise ProofFailed(
                "the audit chain that was loaded is not the archive's: "
                f"{found.summary if found else 'none'}; expected {expected.summary}"
            )
        return found.status

    def _run_checks(self, shadow: Session) -> None:
        for statement in self.parts.checks:
            if shadow.value(statement) is not True:
                raise ProofFailed(
                    f"the application's check `{statement}` did not return true",
                    hint="see `[application] checks` in the settings",
                )

    def _prove_access(self, state: RestoreState) -> tuple[str, ...]:
        """The application's own role must read the restored tables that it can read today.

        Returns a reason where that cannot be compared.
        """
        servers = self.parts.servers
        if state.live is None or servers.administrator is None:
            return ()
        try:
            with servers.as_application(state.target) as live:
                today = _readable(live)
            with servers.as_application(_shadow_name(state)) as shadow:
                lost = today - _readable(shadow)
        except StatementFailed as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE:
                raise
            return (f"what the application's role may read: {error.message}",)
        except DatabaseUnreachable as error:
            return (f"what the application's role may read: {error.message}",)
        lost &= {table.label for table in _source(state).tables}
        if lost:
            names = ", ".join(f"`{name}`" for name in sorted(lost))
            raise ProofFailed(
                f"the application's role cannot read what it can read today: {names}",
                hint="restore owners and privileges: leave out `--no-owner`",
            )
        return ()


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Create the event triggers and subscriptions, which had to wait until nothing else moves."""

    name: ClassVar[str] = "finish"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Say what comes last."""
        file = self.parts.place.as_file(state.request.archive).file
        return Explanation(
            sentence="create event triggers and subscriptions; subscriptions stay disabled",
            commands=(f"pg_restore --use-list=… --dbname='{state.target}' {file}",),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Create what is not there yet; the incoming database is found by its OID."""
        if state.incoming is None:
            return Done(state, "nothing came in")
        entries = read_entries(self.parts, state)
        acting = acting_entries(entries)
        servers = self.parts.servers
        with servers.maintenance() as maintenance:
            database = name_of(maintenance, state.incoming.oid) or state.target
            if state.request.to_database is not None:
                # It is a database like any other from now on: the marker goes.
                set_attributes(maintenance, database, _facts(state))
        state = self._declare(state, database)
        if not acting:
            return Done(state, "none")
        with servers.session(database, "finish") as session:
            there = _acting_names(session, database)
            wanted = tuple(entry for entry in entries if entry.tag not in there)
            major = server_facts(session).major
        try:
            load_acting_entries(_loading(self.parts, state, database, wanted, major))
        except ClientToolFailed as error:
            # The data are there and proved: the application must not stay down for a trigger.
            warning = f"event triggers or subscriptions were not created: {error.message}"
            self.parts.emit(Warned(message=warning))
            state = state.model_copy(update={"warnings": (*state.warnings, warning)})
        return Done(self._detach(state, database), f"{len(acting)} looked after")

    def undo(self, state: RestoreState) -> RestoreState:
        """They go with the database."""
        return state

    def _declare(self, state: RestoreState, database: str) -> RestoreState:
        """Let the audit chain's new history be known: newer anchors are of rows given up."""
        source = _source(state)
        if source.chain is None:
            return state
        with self.parts.servers.session(database, "finish") as session:
            warning = declare_history(
                session, run=state.run, source=source.snapshot, seen=source.chain
            )
        if warning is None:
            return state
        self.parts.emit(Warned(message=warning))
        return state.model_copy(update={"warnings": (*state.warnings, warning)})

    def _detach(self, state: RestoreState, database: str) -> RestoreState:
        """Take the slot from each subscription: it belongs to the database that was replaced."""
        warnings = []
        with self.parts.servers.session(database, "finish") as session:
            for found in subscriptions(session, database):
                name = quote_identifier(found.name)
                session.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
                session.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
                warnings.append(
                    f"subscription `{found.name}` was restored disabled and without a slot; "
                    f"to enable it: ALTER SUBSCRIPTION {name} SET (slot_name = …), then ENABLE"
                )
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        return state.model_copy(update={"warnings": (*state.warnings, *warnings)})


def read_entries(parts: RestoreParts, state: RestoreState) -> tuple[TocEntry, ...]:
    """Return the archive's table of contents; its data are not read."""
    return ArchiveReader(parts.place.archive(state.request.archive).chunks()).entries


def _shadow_name(state: RestoreState) -> str:
    return state.request.to_database or shadow_name(state.target)


def _readable(session: Session) -> set[str]:
    """Return the tables with rows of their own from which the session's role can read."""
    found = set()
    for table in tables(session):
        if table.kind == "f":
            continue
        source = quote_qualified(table.schema, table.name)
        try:
            session.one(f"SELECT 1 FROM {source} LIMIT 1")  # noqa: S608 - quoted
        except StatementFailed as error:
            if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
                raise
            continue
        found.add(f"{table.schema}.{table.name}")
    return found


@contextmanager
def growth(servers: Servers, database: str, work: str, emit: Emit) -> Iterator[None]:
    """Tell once a second how large a database has grown: pg_restore itself says nothing."""
    ended = threading.Event()

    def watch() -> None:
        with servers.maintenance() as session:
            while not ended.wait(_LOOK_S):
                size = session.value("SELECT pg_catalog.pg_database_size(%s)", (database,))
                emit(Progress(work=work, done=int(size), total=None, unit="bytes"))

    def guarded() -> None:
        # Whoever watches must not decide over what is watched.
        with suppress(AlexandriaError):
            watch()

    watcher = threading.Thread(target=guarded, name="growth", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _acting_names(session: Session, database: str) -> set[str]:
    return {found.name for found in event_triggers(session)} | {
        found.name for found in subscriptions(session, database)
    }


def _loading(
    parts: RestoreParts,
    state: RestoreState,
    database: str,
    entries: tuple[TocEntry, ...],
    server_major: int,
) -> Loading:
    return Loading(
        tools=parts.tools(max(server_major, _source(state).pg_restore)),
        dsn=parts.servers.privileged.with_database(database),
        server_major=server_major,
        archive=parts.place.archive(state.request.archive),
        entries=entries,
        options=LoadOptions(jobs=state.request.jobs, no_owner=state.request.no_owner),
        emit=parts.emit,
    )


def _sha256(archive: ArchiveSource) -> str:
    tee = Sha256Tee(archive.chunks())
    for _ in tee:
        pass
    return tee.hexdigest()


def _source(state: RestoreState) -> Source:
    if state.source is None:
        raise UsageError("nothing was found to restore")
    return state.source


def _facts(state: RestoreState) -> DatabaseFacts:
    if state.facts is None:
        raise UsageError("nothing was found to restore")
    return state.facts


def _oid(maintenance: Session, name: str) -> int:
    oid = who_is(maintenance, name)
    if oid is None:
        raise DatabaseMissing(f"database `{name}` vanished while it was looked at")
    return oid
