"""Snapshot: the paper recipe as a runbook. Dump, read back in full, record, in this order.

The manifest is written last and makes the file a snapshot: without one it is an archive that nobody
vouches for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import ClassVar

from alexandria_backup.copying.archive_source import StoredFile
from alexandria_backup.copying.base_archive import schema_options, tell_left_out
from alexandria_backup.copying.dump_archive import dump_archive
from alexandria_backup.errors import ObjectExists, SnapshotDamaged, SpaceMissing
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres.aside import marked_schemas
from alexandria_backup.postgres.catalog import tables
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.repository.file_snapshots import FileSnapshots, archive_name, manifest_name
from alexandria_backup.repository.manifest import encode
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.runbooks import prechecks_source
from alexandria_backup.runbooks.chain_reader import ChainReader, ChainSeen, chain_seen
from alexandria_backup.runbooks.description import Occasion, describe_file
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, RunState, shell
from alexandria_backup.sealing.signing import SigningKey

NAME = "snapshot"
#: The least share of the raw tables that a dump takes: the paper runbook's experience.
_SMALLEST_SHARE = 0.10


class SnapshotState(RunState):
    """The state of a snapshot."""

    database: str
    application: str
    kind: SnapshotKind
    note: str | None = None
    #: With what runs have put aside in the database.
    with_aside: bool = False
    #: The folder or URL prefix that the archive goes to.
    store: str
    #: The archive's name in the store; chosen from the server's clock where none was given.
    archive: str | None = None
    #: Where it lies, for a person.
    location: str = ""
    #: The estimate of its size, in bytes.
    expected_bytes: int | None = None
    #: By the database server's clock.
    created: datetime | None = None
    bytes: int | None = None
    sha256: str | None = None
    tables: int = 0
    rows: int = 0
    chain: ChainSeen | None = None

    @property
    def snapshot(self) -> str:
        """The snapshot's id: the archive's name without its ending."""
        return (self.archive or "").removesuffix(".pgdump")


@dataclass(frozen=True, kw_only=True)
class SnapshotParts:
    """What the steps of a snapshot work with."""

    servers: Servers
    snapshots: FileSnapshots
    tools: Callable[[int], ClientTools]
    chain: ChainReader
    #: Signs the manifest; None leaves it unsigned.
    key: SigningKey | None
    #: Options of pg_dump: the paper recipe's, unless the settings say otherwise.
    options: tuple[str, ...]
    emit: Emit


def snapshot_runbook(parts: SnapshotParts) -> Runbook[SnapshotState]:
    """Return the steps of a snapshot, in order."""
    return Runbook(
        name=NAME,
        steps=(
            CheckSource(parts=parts),
            Dump(parts=parts),
            ReadBack(parts=parts),
        ),
        state_type=SnapshotState,
    )


@dataclass(frozen=True, kw_only=True)
class CheckSource(ReadingStep):
    """Check that everything can be read and that there is room; choose the name."""

    name: ClassVar[str] = "check"

    parts: SnapshotParts

    def explain(self, state: SnapshotState) -> Explanation:
        """List what is checked."""
        return Explanation(
            sentence=f"check that `{state.database}` can be read and that there is room",
            commands=("psql -c 'select sum(pg_table_size(oid)) from pg_class'", "df"),
        )

    def do(self, state: SnapshotState) -> Done[SnapshotState]:
        """Raise RightsMissing, SpaceMissing or ObjectExists before anything is written."""
        with self.parts.servers.session(state.database, "snapshot") as session:
            server = server_facts(session)
            self.parts.tools(server.major)
            refuse_other_holder(session, state.run)
            prechecks_source.refuse_nameless(session, state.database)
            prechecks_source.refuse_unreadable(session, state.database)
            raw = sum(table.total_bytes for table in tables(session) if table.kind == "r")
        store = self.parts.snapshots.store
        name = state.archive or self._free_name(state.application, server.now)
        if self._is_taken(name):
            raise ObjectExists(
                f"`{name}` is in `{store.url}` already, and nothing is overwritten",
                hint="choose another name, or a folder: the name then comes from the clock",
            )
        free, least = store.free_bytes(), int(raw * _SMALLEST_SHARE)
        if free is not None and free < least:
            raise SpaceMissing(
                f"`{store.url}` has {free:,} bytes free and the dump needs at least {least:,}",
                hint="free space there, or choose another place with `--file`",
            )
        found = state.model_copy(
            update={
                "archive": name,
                "location": f"{store.url.rstrip('/')}/{name}",
                "expected_bytes": max(least, 1),
                "created": server.now,
            }
        )
        return Done(found, f"tables have {raw:,} bytes; `{name}`")

    def _is_taken(self, name: str) -> bool:
        store = self.parts.snapshots.store
        return any(store.head(taken) for taken in (name, manifest_name(name)))

    def _free_name(self, application: str, now: datetime) -> str:
        """A restore may take its safety snapshot in the very second of another one."""
        names = (archive_name(application, now + timedelta(seconds=s)) for s in count())
        return next(name for name in names if not self._is_taken(name))


@dataclass(frozen=True, kw_only=True)
class Dump:
    """Dump the database into a new file, as the paper recipe does."""

    name: ClassVar[str] = "dump"
    changes: ClassVar[bool] = True

    parts: SnapshotParts

    def explain(self, state: SnapshotState) -> Explanation:
        """Give the pg_dump command."""
        return Explanation(
            sentence=f"dump `{state.database}` into `{state.location}`",
            commands=(
                shell(
                    "pg_dump",
                    *self.parts.options,
                    f"--file={state.location}",
                    f"--dbname={state.database}",
                ),
            ),
        )

    def do(self, state: SnapshotState) -> Done[SnapshotState]:
        """Stream it; the file appears when pg_dump has ended well."""
        servers, store = self.parts.servers, self.parts.snapshots.store
        with servers.session(state.database, "snapshot") as session:
            major = server_facts(session).major
            left_out = () if state.with_aside else marked_schemas(session)
            encoding = str(session.value("SHOW server_encoding"))
        tell_left_out(left_out, self.parts.emit)
        stored = dump_archive(
            tools=self.parts.tools(major),
            dsn=servers.privileged.with_database(state.database),
            store=store,
            name=_name(state),
            options=(
                *self.parts.options,
                *_lock_wait(servers),
                *schema_options(left_out, encoding),
            ),
            expected_bytes=state.expected_bytes,
            emit=self.parts.emit,
        )
        update = {"bytes": stored.bytes, "sha256": stored.sha256}
        return Done(state.model_copy(update=update), f"{stored.bytes:,} bytes")

    def undo(self, state: SnapshotState) -> SnapshotState:
        """Remove the file, which no manifest has made a snapshot.

        Only where this run is known to have made it: a file that came to be under its name
        meanwhile is another's.
        """
        store = self.parts.snapshots.store
        made = state.archive is not None and state.sha256 is not None
        if made and store.head(manifest_name(_name(state))) is None:
            store.delete(_name(state))
        return state


@dataclass(frozen=True, kw_only=True)
class ReadBack:
    """Read the stored file to its end as a restore would, and record what is in it."""

    name: ClassVar[str] = "read-back"
    changes: ClassVar[bool] = True

    parts: SnapshotParts

    def explain(self, state: SnapshotState) -> Explanation:
        """Say what is read and what is written."""
        return Explanation(
            sentence="read the file back in full and write its manifest",
            commands=(
                shell("sha256sum", state.location),
                shell("pg_restore", "--file=/dev/null", state.location),
            ),
        )

    def do(self, state: SnapshotState) -> Done[SnapshotState]:
        """Raise SnapshotDamaged where what is read is not what was written."""
        store = self.parts.snapshots.store
        read, report = self.parts.chain.archive(
            StoredFile(store=store, name=_name(state)), self.parts.emit
        )
        if state.sha256 is not None and read.sha256 != state.sha256:
            raise SnapshotDamaged(
                f"`{state.location}` was read back with other bytes than were written",
                hint="check the disk or the object store, then take the snapshot again",
            )
        with self.parts.servers.session(state.database, "snapshot") as session:
            occasion = Occasion(
                snapshot=state.snapshot,
                kind=state.kind,
                application=state.application,
                note=state.note,
                created=state.created or server_facts(session).now,
            )
            manifest = describe_file(
                session, occasion, archive=_name(state), read=read, report=report
            )
        if store.head(manifest_name(_name(state))) is None:
            store.put(manifest_name(_name(state)), encode(manifest, self.parts.key))
        seen = chain_seen(report)
        warnings = tuple(f"{name} could not be counted" for name in read.contents.unverified)
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        update = {
            "bytes": read.bytes,
            "sha256": read.sha256,
            "tables": len(read.contents.tables),
            "rows": read.rows,
            "chain": seen,
            "warnings": (*state.warnings, *warnings),
        }
        said = f"{len(read.contents.tables)} tables, {read.rows:,} rows"
        return Done(
            state.model_copy(update=update), said + (f"; audit: {seen.summary}" if seen else "")
        )

    def undo(self, state: SnapshotState) -> SnapshotState:
        """Leave the manifest: it was written last, and what it vouches for was read in full."""
        return state


def _lock_wait(servers: Servers) -> tuple[str, ...]:
    """Without a limit of its own pg_dump waits for a locked table for ever."""
    seconds = servers.timeouts.lock
    return (f"--lock-wait-timeout={round(seconds * 1000)}",) if seconds > 0 else ()


def _name(state: SnapshotState) -> str:
    if state.archive is None:
        raise SnapshotDamaged("the snapshot has no name yet")
    return state.archive
