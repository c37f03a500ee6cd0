"""The steps of a restore that build the replacement: create, load, prove; and what comes last."""

from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.archive.inventory import creates_public_schema
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.load_archive import (
    Loading,
    LoadOptions,
    acting_entries,
    load_acting_entries,
    load_archive,
)
from alexandria_backup.copying.proof import ExpectedTable, prove_catalogue, prove_tables
from alexandria_backup.errors import DatabaseMissing, ProofFailed, StatementFailed, UsageError
from alexandria_backup.events import Warned
from alexandria_backup.postgres.activity import subscriptions
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
from alexandria_backup.runbooks.chain_reader import chain_seen
from alexandria_backup.runbooks.restore_prepare import RestoreParts
from alexandria_backup.runbooks.restore_state import Proof, RestoreState, Source, TableRows
from alexandria_backup.runbooks.step import Done, Explanation
from alexandria_backup.runbooks.switch import DatabaseRef


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
            commands=(f"createdb --template=template0 --encoding=… --owner=… '{name}'",),
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
        update = {"incoming": shadow, "incoming_marker": marker}
        return Done(state.model_copy(update=update), f"`{name}`")

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
        owner = " --no-owner --no-privileges" if state.request.no_owner else ""
        return Explanation(
            sentence=f"load `{state.request.archive}` into `{_shadow_name(state)}`",
            commands=(
                f"pg_restore --exit-on-error --jobs={state.request.jobs}{owner} "
                f"--dbname='{_shadow_name(state)}' {state.request.archive}",
                "psql -c analyze",
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Load it; what an earlier attempt left half-done is dropped first."""
        state = self._empty(state)
        name = _shadow_name(state)
        servers = self.parts.servers
        entries = read_entries(self.parts, state)
        with servers.session(name, "load") as shadow:
            major = server_facts(shadow).major
            if creates_public_schema(entries):
                shadow.execute("DROP SCHEMA IF EXISTS public")
        load_archive(_loading(self.parts, state, name, entries, major))
        with servers.session(name, "load") as shadow:
            shadow.execute("ANALYZE")
        return Done(state, f"{len(entries)} objects with `pg_restore` {major}")

    def undo(self, state: RestoreState) -> RestoreState:
        """The shadow is dropped as a whole."""
        return state

    def _empty(self, state: RestoreState) -> RestoreState:
        create = CreateShadow(parts=self.parts)
        with self.parts.servers.session(_shadow_name(state), "load") as shadow:
            # ANALYZE comes last, so its traces do not tell: any relation at all means "begun".
            untouched = shadow.value(
                "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384)"
            )
        if untouched:
            return state
        return create.do(create.undo(state)).state


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
            commands=("psql -c 'select count(*) from …'", "alexandria audit verify"),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise ProofFailed at whatever is not as the archive says."""
        source = _source(state)
        with self.parts.servers.session(_shadow_name(state), "prove") as shadow:
            proved = prove_tables(
                shadow,
                [_expected(table) for table in source.tables],
                pinned=source.pinned_rendering,
                encoding=source.encoding,
                emit=self.parts.emit,
            )
            prove_catalogue(shadow, large_objects=source.large_objects)
            state = self._warn_of_sequences(shadow, state)
            chain = self._prove_chain(shadow, source)
            self._run_checks(shadow)
        self._prove_access(state)
        proof = Proof(
            tables=proved.tables,
            rows=proved.rows,
            digests=proved.digests,
            large_objects=source.large_objects,
            chain=chain,
            checks=len(self.parts.checks),
            not_compared=proved.not_compared,
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

    def _prove_access(self, state: RestoreState) -> None:
        """The application's own role must read the restored tables that it can read today."""
        servers = self.parts.servers
        if state.live is None or servers.administrator is None:
            return
        readable = _readable(servers.as_application(state.target))
        lost = readable - _readable(servers.as_application(_shadow_name(state)))
        restored = {table.label for table in _source(state).tables}
        lost = lost & restored
        if lost:
            names = ", ".join(f"`{name}`" for name in sorted(lost))
            raise ProofFailed(
                f"the application's role cannot read what it can read today: {names}",
                hint="restore owners and privileges: leave out `--no-owner`",
            )


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Create the event triggers and subscriptions, which had to wait until nothing else moves."""

    name: ClassVar[str] = "finish"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Say what comes last."""
        return Explanation(
            sentence="create event triggers and subscriptions; subscriptions stay disabled",
            commands=(
                f"pg_restore --use-list=… --dbname='{state.target}' {state.request.archive}",
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Create what is not there yet; the incoming database is found by its OID."""
        entries = read_entries(self.parts, state)
        acting = acting_entries(entries)
        if not acting or state.incoming is None:
            return Done(state, "none")
        servers = self.parts.servers
        with servers.maintenance() as maintenance:
            database = name_of(maintenance, state.incoming.oid) or state.target
        with servers.session(database, "finish") as session:
            there = _acting_names(session, database)
            wanted = tuple(entry for entry in entries if entry.tag not in there)
            major = server_facts(session).major
        load_acting_entries(_loading(self.parts, state, database, wanted, major))
        return Done(self._detach(state, database), f"{len(acting)} created")

    def undo(self, state: RestoreState) -> RestoreState:
        """They go with the database."""
        return state

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
    chunks = parts.snapshots.store.read(state.request.archive)
    return ArchiveReader(chunks).entries


def _shadow_name(state: RestoreState) -> str:
    return state.request.to_database or shadow_name(state.target)


def _readable(session: Session) -> set[str]:
    """Return the tables from which the session's role can read a row."""
    found = set()
    with session:
        for table in tables(session):
            try:
                source = quote_qualified(table.schema, table.name)
                session.one(f"SELECT 1 FROM {source} LIMIT 1")  # noqa: S608 - quoted
            except StatementFailed:
                continue
            found.add(f"{table.schema}.{table.name}")
    return found


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
        tools=parts.tools(server_major),
        dsn=parts.servers.privileged.with_database(database),
        server_major=server_major,
        store=parts.snapshots.store,
        name=state.request.archive,
        entries=entries,
        options=LoadOptions(jobs=state.request.jobs, no_owner=state.request.no_owner),
        emit=parts.emit,
    )


def _expected(table: TableRows) -> ExpectedTable:
    return ExpectedTable(
        schema=table.schema_name,
        name=table.name,
        columns=table.columns,
        rows=table.rows,
        digest=table.digest,
        complete=table.complete,
    )


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
