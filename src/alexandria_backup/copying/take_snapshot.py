"""Copy a database out: one consistent view, taken over where nothing changed, read where it did.

The coordinator holds locks and snapshot from before the first query until after the last COPY.
Nothing here makes a snapshot: the manifest, which the caller writes when all of this went well,
does.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from alexandria_backup.audit.parallel import Readers
from alexandria_backup.copying.base_archive import (
    BaseArchive,
    base_archive_options,
    dump_base_archive,
    refuse_rows_of,
    tell_left_out,
)
from alexandria_backup.copying.copy_request import CopiedDatabase, CopyRequest
from alexandria_backup.copying.decided import DecidedFrames, ReadFrames, decide_frames
from alexandria_backup.copying.frames import TableFrames
from alexandria_backup.copying.looking import looking
from alexandria_backup.copying.plan import PlannedTable, plan_tables
from alexandria_backup.copying.takeover import Now, objection_to_all
from alexandria_backup.copying.worker import WorkerSetup
from alexandria_backup.copying.worker_pools import process_workers, thread_workers
from alexandria_backup.errors import ClientToolFailed, ConnectionLost, StatementFailed
from alexandria_backup.events import Event
from alexandria_backup.postgres.aside import marked_schemas
from alexandria_backup.postgres.client_tools import DumpProcess
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.exported_snapshot import ExportedSnapshot, exported_snapshot
from alexandria_backup.postgres.framing import (
    Framable,
    cluster_traits,
    framable_tables,
    type_traits,
)
from alexandria_backup.postgres.marker_rows import sees_marker, write_marker
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.repository.manifest_parts import (
    FramePart,
    OriginPart,
)

#: Where more than this is to be read, worker processes are worth their start.
_PROCESSES_ABOVE_BYTES: Final = 96 * 1024 * 1024


def copy_database(request: CopyRequest) -> CopiedDatabase:
    """Copy a database out.

    Raises StatementFailed where a table stays locked, where another session waits for a stronger
    lock on a table, or where a type was altered meanwhile; ClientToolFailed, StorageError and
    SnapshotDamaged as the parts do. What was stored by then stays, and the next one reuses it.
    """
    with connect(request.dsn, purpose="snapshot", timeouts=request.timeouts) as leader:
        with exported_snapshot(leader) as exported:
            marker = _write_marker(request)
            coordinator = _Coordinator(request, leader, exported)
            with _told_by(leader):
                copied = coordinator.copy(marker)
            request.look(leader, copied.tables)
        _refuse_altered_types(leader, coordinator.tables_read)
    return copied


class _Coordinator:
    """What happens while the snapshot is held."""

    def __init__(self, request: CopyRequest, leader: Session, exported: ExportedSnapshot) -> None:
        self._request = request
        self._leader = leader
        self._exported = exported
        self._cluster = dict(cluster_traits(leader))
        self._cluster_digest = self._digest(
            {**self._cluster, "system_identifier": server_facts(leader).system_identifier}
        )
        self._left_out = () if request.with_aside else marked_schemas(leader)
        tell_left_out(self._left_out, request.emit)
        self._reading = True
        #: Those of which anything was read.
        self.tables_read: list[Framable] = []

    def copy(self, marker: str | None) -> CopiedDatabase:
        request, reference = self._request, self._request.reference
        objection = objection_to_all(reference, self._now()) if reference else None
        tables = [
            TableFrames.of(plan, self._fingerprint(plan), reference, objection)
            for plan in self._plan()
        ]
        setup = WorkerSetup(
            conninfo=request.dsn.conninfo().reveal(),
            timeouts=request.timeouts,
            snapshot=self._exported.id,
            encoding=self._cluster["server_encoding"],
            open_shelf=request.open_shelf,
        )
        with (
            thread_workers(setup, request.jobs) as threads,
            self._dumping(tables) as base,
        ):
            decided = decide_frames(tables, threads, request.objection_to_part, request.emit)
            self.tables_read = decided.tables_to_read
            read = self._read(setup, threads, decided, base)
            self._reading = False
            dumped = base.result()
        refuse_rows_of(dumped, {table.plan.table.oid for table in tables})
        position = self._exported.position
        return CopiedDatabase(
            origin=OriginPart(
                lsn=position.lsn,
                timeline=position.timeline,
                xmin=position.xmin,
                xmax=position.xmax,
                marker=marker,
                cluster=self._cluster_digest,
            ),
            base=dumped,
            tables=read.tables,
            read_bytes=read.read_bytes,
            new_bytes=read.new_bytes,
            objection=objection,
        )

    def _now(self) -> Now:
        return Now(
            position=self._exported.position,
            cluster=self._cluster_digest,
            fsync=self._cluster["fsync"] == "on",
            sees_marker=lambda nonce: sees_marker(self._leader, nonce),
        )

    def _plan(self) -> tuple[PlannedTable, ...]:
        # A table that came to be after the locks is pg_dump's.
        found = framable_tables(self._leader, above_bytes=self._request.framing.above_bytes)
        locked = [table for table in found if table.oid in self._exported.locked]
        reference = self._request.reference
        return plan_tables(
            locked,
            block_size=int(self._cluster["block_size"]),
            before=reference.tables if reference else {},
            framing=self._request.framing,
        )

    def _fingerprint(self, plan: PlannedTable) -> dict[str, str] | None:
        traits = plan.table.traits
        if traits is None:
            return None
        return {aspect: self._digest(value) for aspect, value in traits.items()}

    def _digest(self, value: object) -> str:
        # Keyed: missing values of columns are data, and a manifest is not encrypted.
        return self._request.sealing.digest(json.dumps(value, sort_keys=True).encode())

    @contextmanager
    def _dumping(self, tables: Sequence[TableFrames]) -> Iterator[Future[BaseArchive]]:
        """Let pg_dump write the base archive beside the block, and no longer than that."""
        running: list[DumpProcess] = []
        with ThreadPoolExecutor(1, "base-archive") as executor:
            future = executor.submit(self._dump, tables, running.append)
            try:
                yield future
            except BaseException:
                future.cancel()
                for process in running:
                    process.cancel()
                raise

    def _dump(
        self, tables: Sequence[TableFrames], started: Callable[[DumpProcess], None]
    ) -> BaseArchive:
        return dump_base_archive(
            tools=self._request.tools,
            dsn=self._request.dsn,
            options=base_archive_options(
                snapshot=self._exported.id,
                framed=[(t.plan.table.schema, t.plan.table.name) for t in tables],
                encoding=self._cluster["server_encoding"],
                lock_timeout_s=self._request.timeouts.lock,
                schemas_left_out=self._left_out,
            ),
            shelf=self._request.open_shelf(),
            watch=self._request.watch,
            started=started,
            emit=self._tell_of_base,
        )

    def _tell_of_base(self, event: Event) -> None:
        """Two works that tell of themselves by turns are no progress that anybody can read."""
        if not self._reading:
            self._request.emit(event)

    def _read(
        self,
        setup: WorkerSetup,
        threads: Executor,
        decided: DecidedFrames,
        base: Future[BaseArchive],
    ) -> ReadFrames:
        """Read what is to be read, in this process or, where that is much, in others."""
        request = self._request
        if decided.bytes_to_read <= _PROCESSES_ABOVE_BYTES or request.jobs == 1:
            stored = self._stored([base])
            return decided.read(threads, request.jobs, stored=stored, emit=request.emit)
        with (
            looking(setup, request.look_beside or _see_nothing) as look,
            process_workers(setup, request.jobs) as processes,
        ):
            # First, so that what it needs of the readers is read before the last frames are.
            looked = look(processes, request.jobs)
            stored = self._stored([base, looked])
            read = decided.read(processes, request.jobs, stored=stored, emit=request.emit)
            looked.result()
        return read

    def _stored(self, beside: Sequence[Future[Any]]) -> Callable[[TableFrames, FramePart], None]:
        def tell(table: TableFrames, frame: FramePart) -> None:
            self._request.stored(table, frame)
            for future in beside:
                if future.done():
                    # Where that has failed, nobody needs the rest of the frames.
                    future.result()

        return tell


def _see_nothing(_session: Session, _readers: Readers) -> None:
    """Look at nothing."""


@contextmanager
def _told_by(leader: Session) -> Iterator[None]:
    """Where the session that holds the snapshot has ended, tell of that: all else follows from it.

    A worker only sees that the snapshot is not there any more, or that the server is gone.
    """
    try:
        yield
    except (ClientToolFailed, StatementFailed) as error:
        try:
            leader.value("SELECT 1")
        except ConnectionLost as lost:
            raise lost from error
        except StatementFailed:
            raise error from None
        raise


def _write_marker(request: CopyRequest) -> str | None:
    with connect(request.dsn, purpose="marker", timeouts=request.timeouts) as session:
        return write_marker(session)


def _refuse_altered_types(session: Session, read: Sequence[Framable]) -> None:
    """Values were written by the newest catalogue, the schema by the snapshot's: they must agree.

    Looked at are the tables that were read; no lock of ours keeps a type from being altered.
    """
    now = type_traits(session, [table.oid for table in read])
    for table in read:
        if now[table.oid] != table.types:
            raise StatementFailed(
                f"a type of `{table.label}` was altered while it was copied out",
                hint="alexandria snapshot create   # when the migration is over",
            )
