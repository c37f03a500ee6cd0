"""The first steps of a restore: find the snapshot, check that all can work, make it safe."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC
from typing import ClassVar

from alexandria_backup.archive.inventory import (
    extensions,
    not_validated,
    ownerships,
    publications,
    roles_needed,
    tables,
    tables_without_data,
)
from alexandria_backup.copying.read_archive import ReadArchive
from alexandria_backup.errors import (
    AuditBroken,
    ClientToolFailed,
    ClientToolsMissing,
    ConnectionLost,
    DatabaseMissing,
    ExitCode,
    RightsMissing,
    SnapshotDamaged,
    SpaceMissing,
    StatementFailed,
    StorageError,
    UsageError,
)
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres import catalog
from alexandria_backup.postgres.activity import subscriptions
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.postgres.connect import RENDERING, Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.server import role_facts, server_facts
from alexandria_backup.postgres.shadow import kept_name
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.runbooks import prechecks
from alexandria_backup.runbooks.accept import SafetyTaker
from alexandria_backup.runbooks.chain_reader import ChainReader, ChainSeen, chain_seen
from alexandria_backup.runbooks.description import facts_of, journalled
from alexandria_backup.runbooks.differences import Counted, count_tables, differences
from alexandria_backup.runbooks.places import SnapshotPlace
from alexandria_backup.runbooks.restore_state import RestoreState, Source
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, shell
from alexandria_backup.runbooks.switch import DatabaseRef
from alexandria_backup.runbooks.switch_application import (
    Application,
    license_before,
    warn_of_the_platform,
)
from alexandria_backup.runbooks.verify import vouch_for

#: Format versions 1.x of archives, newest first, and the first version that reads each.
_READERS = ((16, 17), (15, 16), (14, 12))
#: What may go wrong with a safety snapshot without the restore being in doubt.
_NO_SNAPSHOT = (
    ClientToolFailed,
    ClientToolsMissing,
    RightsMissing,
    SnapshotDamaged,
    SpaceMissing,
    StatementFailed,
    StorageError,
)


@dataclass(frozen=True, kw_only=True)
class RestoreParts:
    """What the steps of a restore work with."""

    servers: Servers
    application: Application
    #: Where the snapshot is.
    place: SnapshotPlace
    chain: ChainReader
    #: Client tools that fit a server's major version.
    tools: Callable[[int], ClientTools]
    #: Takes the safety snapshot; None where no repository is set.
    safety: SafetyTaker | None
    #: Statements that return true if the restored data are good.
    checks: tuple[str, ...]
    #: Bytes free on the server, where it cannot be measured from here.
    server_free_bytes: int | None
    fence_patience_s: float
    emit: Emit


@dataclass(frozen=True, kw_only=True)
class Find(ReadingStep):
    """Find snapshot and database; read the archive to its end; say what will be given up."""

    name: ClassVar[str] = "find"

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Name the archive and the database."""
        name = state.request.archive
        archive = self.parts.place.as_file(name)
        return Explanation(
            sentence=f"read `{name}` in full and compare it with `{state.target}`",
            commands=(
                *archive.commands,
                shell("sha256sum", archive.file),
                shell("pg_restore", "--file=/dev/null", archive.file),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Read all of it; nothing is created before that has gone well."""
        entry = self.parts.place.find(state.request.archive)
        if entry.manifest is None and self.parts.place.trusts:
            raise SnapshotDamaged(
                f"`{entry.id}` has no manifest, and `[signing] trusted_keys` asks for a signed one",
                hint="ALEXANDRIA_SIGNING__TRUSTED_KEYS='[]' alexandria restore …   # believe it",
            )
        archive = self.parts.place.archive(entry.archive)
        read, report = self.parts.chain.archive(archive, self.parts.emit)
        vouch_for(entry, read)
        source = _source(entry, read, archive.identity or read.sha256, chain_seen(report))
        with self.parts.servers.maintenance() as maintenance:
            server = server_facts(maintenance)
            live = database_facts(maintenance, state.target)
            # Whatever fenced it before: what takes its place is to be used.
            facts = (
                replace(live, allow_connections=True)
                if live
                else _facts_for_new(maintenance, state.target, entry, read)
            )
            if state.request.no_owner:
                facts = _without_owner(maintenance, facts, keep=live is not None)
            enabled = tuple(
                found.name for found in subscriptions(maintenance, state.target) if found.enabled
            )
        swaps = state.request.to_database is None
        counted, published = (
            self._look_at(state.target) if swaps and live and live.allow_connections else ({}, ())
        )
        found = state.model_copy(
            update={
                "server": server.system_identifier,
                "source": source,
                "facts": journalled(facts),
                "inherits": live is not None,
                "live": DatabaseRef(name=live.name, oid=live.oid) if live else None,
                "live_tables": tuple(counted),
                "live_publications": published,
                "subscriptions": enabled,
                "kept_name": kept_name(state.target, state.run.rpartition("-")[2]),
                "given_up": differences(counted, _rows_after(read, source)),
                "license": license_before(self.parts.application) if swaps else None,
            }
        )
        what = f"{len(source.tables)} tables, {read.rows:,} rows, sha256 {read.sha256[:12]}…"
        return Done(found, what if live else f"{what}; there is no `{state.target}` yet")

    def _look_at(self, target: str) -> tuple[dict[str, Counted], tuple[str, ...]]:
        """Return what the live database holds and publishes."""
        with self.parts.servers.session(target, "find") as live:
            try:
                return count_tables(live), catalog.publications(live)
            except ConnectionLost:
                raise
            except StatementFailed as error:
                # A hung migration holds a lock: it must not hold up the rescue.
                self.parts.emit(
                    Warned(message=f"what will be given up is not known: {error.message}")
                )
                return {}, ()


@dataclass(frozen=True, kw_only=True)
class Check(ReadingStep):
    """Check everything that could stop the restore half-way, before anything is changed."""

    name: ClassVar[str] = "check"

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:  # noqa: ARG002 - the port's form
        """List what is checked."""
        return Explanation(
            sentence="check rights, roles, extensions, sessions, versions, space and the platform",
            commands=("alexandria doctor",),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise PrecheckRefused, or a child of it, for the first thing that forbids a restore."""
        source, request = state.source, state.request
        if source is None:
            raise UsageError("nothing was found to check")
        broken = source.chain is not None and source.chain.exit_code is ExitCode.AUDIT_BROKEN
        if broken and source.chain is not None and not request.accept_chain:
            raise AuditBroken(
                f"the audit chain in `{source.snapshot}` is broken: {source.chain.summary}",
                hint="choose an older snapshot, or add `--accept-chain`",
            )
        with self.parts.servers.maintenance() as maintenance:
            warnings = prechecks.for_restore(
                maintenance, state, source, server_free_bytes=self.parts.server_free_bytes
            )
            self.parts.tools(max(server_facts(maintenance).major, source.pg_restore))
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        if request.to_database is None:
            warn_of_the_platform(self.parts.application, self.parts.emit)
        if request.stop_first and not self.parts.application.platform.managed:
            raise UsageError(
                "`--stop-first` needs something to stop the application with",
                hint="set `[application] stop_command` and `start_command`",
            )
        return Done(
            state.model_copy(update={"warnings": (*state.warnings, *warnings)}),
            "nothing forbids it",
        )


@dataclass(frozen=True, kw_only=True)
class SafetySnapshot:
    """Snapshot the live database as it is now; the swap keeps it besides."""

    name: ClassVar[str] = "safety-snapshot"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Give the paper recipe."""
        if state.live is None:
            return Explanation(sentence=f"nothing: there is no `{state.target}` yet")
        return Explanation(
            sentence=f"take a snapshot of `{state.target}` as it is now",
            commands=(
                shell("pg_dump", "--format=custom", "--compress=9", f"--dbname={state.target}"),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Take it; a failure is a warning, since the swap keeps the database."""
        if state.live is None:
            return Done(state, "there is no live database")
        if state.safety is not None:
            return Done(state, f"taken before: `{state.safety}`")
        if self.parts.safety is None:
            return self._without(state, "no repository is set")
        try:
            taken = self.parts.safety(state.target, f"before {state.run}")
        except _NO_SNAPSHOT as error:
            return self._without(state, error.message)
        return Done(state.model_copy(update={"safety": taken}), f"`{taken}`")

    def undo(self, state: RestoreState) -> RestoreState:
        """A snapshot that was taken stays."""
        return state

    def _without(self, state: RestoreState, reason: str) -> Done[RestoreState]:
        warning = f"no safety snapshot: {reason}; the live database itself is kept"
        self.parts.emit(Warned(message=warning))
        return Done(state.model_copy(update={"warnings": (*state.warnings, warning)}), "none taken")


def _source(
    entry: SnapshotEntry, read: ReadArchive, identity: str, chain: ChainSeen | None
) -> Source:
    manifest = entry.manifest
    return Source(
        bytes=read.bytes,
        identity=identity,
        manifest=manifest is not None,
        snapshot=entry.id,
        kind=manifest.kind.value if manifest else None,
        # An archive's header holds the local time of an unknown zone: no instant to compare with.
        created=manifest.created.astimezone(UTC) if manifest else None,
        database=read.header.database,
        server_version=read.header.server_version,
        dump_version=read.header.dump_version,
        tables=read.expected_tables(),
        defined=tuple(f"{t.schema}.{t.name}" for t in tables(read.entries)),
        without_data=tuple(f"{t.schema}.{t.name}" for t in tables_without_data(read.entries)),
        pg_restore=_oldest_reader(read.header.version),
        large_objects=read.contents.large_objects.count,
        raw_bytes=sum(table.raw_bytes or 0 for table in read.contents.tables),
        encoding=read.encoding,
        extensions=extensions(read.entries),
        roles=roles_needed(read.entries),
        ownerships=ownerships(read.entries),
        publications=tuple(entry.tag for entry in publications(read.entries)),
        not_validated=not_validated(read.entries),
        chain=chain,
        pinned_rendering=manifest is not None and manifest.rendering == dict(RENDERING),
    )


def _oldest_reader(version: tuple[int, int, int]) -> int:
    """Return the oldest major version whose pg_restore reads archives of this format version."""
    return next((major for minor, major in _READERS if version[1] >= minor), 0)


def _rows_after(read: ReadArchive, source: Source) -> dict[str, int | None]:
    """Return the rows that each table will have; None where they are loaded through another one."""
    after: dict[str, int | None] = {f"{t.schema}.{t.name}": None for t in tables(read.entries)}
    after |= dict.fromkeys(source.without_data, 0)
    return after | {table.label: table.rows for table in source.tables}


def _facts_for_new(
    maintenance: Session, target: str, entry: SnapshotEntry, read: ReadArchive
) -> DatabaseFacts:
    """Return what a database that does not exist yet is to be like."""
    if entry.manifest is not None:
        return replace(facts_of(entry.manifest.database), name=target)
    here = database_facts(maintenance, maintenance.dsn.database)
    if here is None:
        raise DatabaseMissing(f"database `{maintenance.dsn.database}` vanished")
    return replace(
        here,
        name=target,
        oid=0,
        owner=role_facts(maintenance).name,
        encoding=read.encoding,
        connection_limit=-1,
        allow_connections=True,
        is_template=False,
        comment=None,
        grants=(),
        settings=(),
    )


def _without_owner(maintenance: Session, facts: DatabaseFacts, *, keep: bool) -> DatabaseFacts:
    """Return facts that need no role of the snapshot's; those of a live database stay."""
    if keep:
        return facts
    common = tuple(item for item in facts.settings if item.role is None)
    return replace(facts, owner=role_facts(maintenance).name, grants=(), settings=common)
