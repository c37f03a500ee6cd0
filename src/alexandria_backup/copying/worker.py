"""A worker: a session in the shared snapshot, a shelf, and what they do for an order.

Each thread of a pool has one worker of its own; the tasks at the end are what is submitted. A
worker process begins with this module, so it imports little.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from alexandria_backup.copying.orders import (
    CopiedFrame,
    CopiedFrames,
    CopyOrder,
    CountOrder,
    FrameOrder,
)
from alexandria_backup.copying.storing import PART_BYTES, OpenShelf, Storing
from alexandria_backup.errors import SnapshotDamaged, StatementFailed
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.exported_snapshot import adopt_snapshot
from alexandria_backup.postgres.identifiers import quote_qualified
from alexandria_backup.postgres.page_ranges import (
    RangeCount,
    copy_range_statement,
    count_ranges,
)
from alexandria_backup.postgres.sqlstates import LOCK_NOT_AVAILABLE
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.secret import Secret

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What a worker needs to begin; it crosses to other processes through a pipe and no file."""

    #: A connection string with its password: `Secret` refuses to be pickled.
    conninfo: str = field(repr=False)
    timeouts: Timeouts
    #: The exported snapshot.
    snapshot: str
    #: The encoding of the archive: the database's own, so that nothing is converted.
    encoding: str
    open_shelf: OpenShelf


class Worker:
    """A session in the shared snapshot, and a shelf of its own."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._storing = Storing(setup.open_shelf())
        dsn = Dsn.parse(Secret(setup.conninfo))
        self._session = connect(dsn, purpose="copy out", timeouts=setup.timeouts)
        try:
            adopt_snapshot(self._session, setup.snapshot)
        except BaseException:
            self._session.close()
            raise

    def cut(self) -> None:
        """Let whoever waits for the server in this worker's thread wait no longer."""
        self._session.cut()

    def close(self) -> None:
        """End the session, and with it the transaction."""
        self._storing.close()
        self._session.close()

    def count(self, order: CountOrder) -> list[RangeCount]:
        """Count page ranges; see `count_ranges`."""
        self._lock(order.schema, order.name)
        return count_ranges(
            self._session, order.schema, order.name, order.ranges, since_xmin=order.since_xmin
        )

    def copy(self, order: CopyOrder) -> CopiedFrames:
        """Copy frames out into objects; all of them are stored when this returns."""
        self._lock(order.schema, order.name)
        before = self._storing.shelf.stored_bytes
        try:
            copied = [self._copy(order, frame) for frame in order.frames]
            self._storing.settle()
        except BaseException:
            self._storing.abandon()
            raise
        return CopiedFrames(
            frames=tuple(
                CopiedFrame(rows=rows, parts=tuple(part.result() for part in parts))
                for rows, parts in copied
            ),
            new_bytes=self._storing.shelf.stored_bytes - before,
        )

    def see(self, schema: str, name: str, read: Callable[[Session], T]) -> T:
        """Read a table otherwise than by its frames."""
        self._lock(schema, name)
        return read(self._session)

    def _copy(
        self, order: CopyOrder, frame: FrameOrder
    ) -> tuple[int, Sequence[Future[StoredPart]]]:
        """Read one frame, and begin to store it: its rows, and its parts to be."""
        copied = self._session.copy_out_batches(
            copy_range_statement(
                order.schema, order.name, order.columns, frame.pages, encoding=self._setup.encoding
            ),
            batch_bytes=PART_BYTES,
        )
        parts = [self._storing.put(raw, anew=frame.anew) for raw in copied]
        if copied.messages != copied.rows:
            raise SnapshotDamaged(
                f"`{order.schema}.{order.name}` sent {copied.messages:,} rows and counted "
                f"{copied.rows:,}"
            )
        return copied.rows, parts

    def _lock(self, schema: str, name: str) -> None:
        # The coordinator holds this lock. Whoever queues for a stronger one must not hang us: the
        # server would not see that we wait for each other.
        try:
            self._session.execute(
                f"LOCK TABLE ONLY {quote_qualified(schema, name)} IN ACCESS SHARE MODE NOWAIT"
            )
        except StatementFailed as error:
            if error.sqlstate != LOCK_NOT_AVAILABLE:
                raise
            raise StatementFailed(
                f"another session waits for a lock on `{schema}.{name}`; the snapshot gives way",
                sqlstate=error.sqlstate,
                hint="alexandria snapshot create   # when the migration is over",
            ) from error


_here = threading.local()


def begin(setup: WorkerSetup, opened: list[Worker]) -> None:
    """Make this thread ready for tasks; its worker is added to `opened` when it begins.

    The session is opened with the first order: an error here would only break the pool.
    """
    _here.setup, _here.opened, _here.worker = setup, opened, None


def count_task(order: CountOrder) -> list[RangeCount]:
    """Count page ranges with this thread's worker."""
    return this_worker().count(order)


def copy_task(order: CopyOrder) -> CopiedFrames:
    """Copy frames with this thread's worker."""
    return this_worker().copy(order)


def this_worker() -> Worker:
    """Return this thread's worker; for tasks of other modules."""
    if _here.worker is None:
        _here.worker = Worker(_here.setup)
        _here.opened.append(_here.worker)
    worker: Worker = _here.worker
    return worker
