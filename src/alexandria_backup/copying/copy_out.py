"""Copy frames out: worker sessions that share one snapshot, and what each does for a frame.

Work is given to a `concurrent.futures.Executor` as picklable orders, and results come back as
values. Threads do where little is read, since the server does the work then; for much, processes:
taking COPY's rows apart, compressing and checking them needs Python on every core.
"""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.util import Finalize
from typing import Final

from alexandria_backup.errors import SnapshotDamaged, StatementFailed
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.exported_snapshot import adopt_snapshot
from alexandria_backup.postgres.identifiers import quote_qualified
from alexandria_backup.postgres.page_ranges import (
    PageRange,
    RangeCount,
    copy_range_statement,
    count_ranges,
)
from alexandria_backup.postgres.sqlstates import LOCK_NOT_AVAILABLE
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.secret import Secret

#: Opens a shelf of the worker's own; picklable.
OpenShelf = Callable[[], ObjectShelf]

#: Parameters of glibc's `mallopt`, from its malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
#: COPY text that one object holds; a longer row is cut, as objects know nothing of rows.
PART_BYTES: Final = 16 * 1024 * 1024


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


@dataclass(frozen=True, kw_only=True)
class CopyOrder:
    """One frame to be copied out."""

    schema: str
    name: str
    columns: tuple[str, ...]
    pages: PageRange
    #: What seems to be stored already is not relied on: an object of these rows is damaged.
    anew: bool = False


@dataclass(frozen=True, kw_only=True)
class CountOrder:
    """Page ranges of one table, to be counted against an earlier snapshot."""

    schema: str
    name: str
    ranges: tuple[PageRange, ...]
    since_xmin: int


@dataclass(frozen=True, kw_only=True)
class CopiedFrame:
    """What a frame held, and where it is kept."""

    rows: int
    parts: tuple[StoredPart, ...]
    #: Stored bytes that were not there before.
    new_bytes: int

    @property
    def raw_bytes(self) -> int:
        """The COPY text's size."""
        return sum(part.raw_bytes for part in self.parts)


class Worker:
    """A session in the shared snapshot, and a shelf of its own."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._shelf = setup.open_shelf()
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
        self._session.close()

    def count(self, order: CountOrder) -> list[RangeCount]:
        """Count page ranges; see `count_ranges`."""
        self._lock(order.schema, order.name)
        return count_ranges(
            self._session, order.schema, order.name, order.ranges, since_xmin=order.since_xmin
        )

    def copy(self, order: CopyOrder) -> CopiedFrame:
        """Copy one frame out into objects."""
        self._lock(order.schema, order.name)
        copied = self._session.copy_out_batches(
            copy_range_statement(
                order.schema, order.name, order.columns, order.pages, encoding=self._setup.encoding
            ),
            batch_bytes=PART_BYTES,
        )
        before = self._shelf.stored_bytes
        parts = tuple(self._shelf.put(raw, anew=order.anew) for raw in copied)
        if copied.messages != copied.rows:
            raise SnapshotDamaged(
                f"`{order.schema}.{order.name}` sent {copied.messages:,} rows and counted "
                f"{copied.rows:,}"
            )
        new_bytes = self._shelf.stored_bytes - before
        return CopiedFrame(rows=copied.rows, parts=parts, new_bytes=new_bytes)

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


#: Each thread of a pool has one worker; in a process pool, each process has one thread.
_here = threading.local()


@contextmanager
def thread_workers(setup: WorkerSetup, number: int) -> Iterator[Executor]:
    """Give workers in threads of this process."""
    opened: list[Worker] = []
    executor = ThreadPoolExecutor(number, "copy-out", initializer=_begin, initargs=(setup, opened))
    try:
        yield executor
    except BaseException:
        # What is under way is not wanted any more, and a silent server would hold it up for ever.
        for worker in opened:
            worker.cut()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        for worker in opened:
            worker.close()


@contextmanager
def process_workers(setup: WorkerSetup, number: int) -> Iterator[Executor]:
    """Give workers in processes of their own, which end with this one even if that is killed."""
    # Not forked: the object store's client has threads, and a fork copies their locks.
    context = multiprocessing.get_context("spawn")
    wanted, wanting = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        number, context, initializer=_begin_process, initargs=(setup, wanted)
    )
    try:
        yield executor
    except BaseException:
        # As among threads; they see it by the end of the pipe.
        wanting.close()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
        wanting.close()
        wanted.close()


def count_task(order: CountOrder) -> list[RangeCount]:
    """Count page ranges with this thread's worker."""
    return _worker().count(order)


def copy_task(order: CopyOrder) -> CopiedFrame:
    """Copy a frame with this thread's worker."""
    return _worker().copy(order)


def _begin(setup: WorkerSetup, opened: list[Worker]) -> None:
    # The session is opened with the first order: an error here would only break the pool.
    _here.setup, _here.opened, _here.worker = setup, opened, None


def _begin_process(setup: WorkerSetup, wanted: Connection) -> None:
    # Ctrl-C reaches the whole group; the coordinator decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    opened: list[Worker] = []
    threading.Thread(
        target=_end_with_parent, args=(wanted, opened), name="end-with-parent", daemon=True
    ).start()
    _keep_freed_memory()
    Finalize(None, _close_all, (opened,), exitpriority=10)
    _begin(setup, opened)


def _worker() -> Worker:
    if _here.worker is None:
        _here.worker = Worker(_here.setup)
        _here.opened.append(_here.worker)
    worker: Worker = _here.worker
    return worker


def _close_all(opened: Sequence[Worker]) -> None:
    for worker in opened:
        worker.close()


def _keep_freed_memory() -> None:
    """Let glibc use again what batches leave: given back each time, it comes page by page anew.

    That took a third of the time which workers spend in the kernel. Other C libraries are left
    alone.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 8 * PART_BYTES)
        mallopt(_TRIM_THRESHOLD, 16 * PART_BYTES)


def _end_with_parent(wanted: Connection, opened: Sequence[Worker]) -> None:
    """End with a parent that was killed, or that does not want the work any more.

    A pool's processes notice neither by themselves: they would wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if parent.sentinel not in wait_for_any([parent.sentinel, wanted]):
        # What is being stored comes to its end; what the server owes will not come any more.
        for worker in opened:
            worker.cut()
        wait_for_any([parent.sentinel])
    os._exit(1)
