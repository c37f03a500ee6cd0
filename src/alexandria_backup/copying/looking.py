"""A look at the database beside the copying: in the same snapshot, with the same readers."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from alexandria_backup.audit.parallel import Readers, Seen, Share, read_share
from alexandria_backup.copying.worker import WorkerSetup, this_worker
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.exported_snapshot import adopt_snapshot
from alexandria_backup.secret import Secret

#: Looks at the database, and may let large tables be read.
Look = Callable[[Session, Readers], None]
#: Begins to look, given who reads and how many they are.
BeginLooking = Callable[[Executor, int], Future[None]]


@contextmanager
def looking(setup: WorkerSetup, look: Look) -> Iterator[BeginLooking]:
    """Give what begins the look, in a thread and a session of its own; once.

    Whoever reads for it must be shut down inside of the block. Where that fails, the look is ended
    with it.
    """
    opened: list[Session] = []
    with ThreadPoolExecutor(1, "look") as executor:

        def begin(readers: Executor, number: int) -> Future[None]:
            return executor.submit(_look, setup, look, _readers(readers, number), opened)

        try:
            yield begin
        except BaseException:
            for session in opened:
                session.cut()
            raise


def _look(setup: WorkerSetup, look: Look, readers: Readers, opened: list[Session]) -> None:
    dsn = Dsn.parse(Secret(setup.conninfo))
    with connect(dsn, purpose="audit", timeouts=setup.timeouts) as session:
        opened.append(session)
        adopt_snapshot(session, setup.snapshot)
        look(session, readers)


def _readers(executor: Executor, number: int) -> Readers:
    def read(shares: Sequence[Share]) -> Iterator[Seen]:
        for future in [executor.submit(_read_task, share) for share in shares]:
            yield future.result()

    return Readers(number=number, read=read)


def _read_task(share: Share) -> Seen:
    """Read a share with this thread's worker."""
    table = share.table
    return this_worker().see(table.schema, table.name, partial(read_share, share=share))
