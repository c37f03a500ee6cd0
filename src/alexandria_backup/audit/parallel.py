"""A large table read by several processes: page ranges side by side, their seams checked by links.

Each process reads a range of the table's pages in the transaction's snapshot and remembers its rows
as one would that reads them all; the runs are joined afterwards by their links, so a row at a seam
is checked like any other.
"""

import multiprocessing
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.key import AuditKey, KeyRing, Revealed, revealed, ring_of
from alexandria_backup.audit.live_rows import PAGE_RANGES, PageRange, live_blocks
from alexandria_backup.audit.recipe import Recipe
from alexandria_backup.audit.runs import RunLog
from alexandria_backup.audit.seen_rows import SeenRows
from alexandria_backup.errors import AlexandriaError, StatementFailed
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.identifiers import quote_qualified
from alexandria_backup.postgres.queries import load
from alexandria_backup.secret import Secret

#: A smaller table is read faster than a process starts.
_PAGES_WORTH_A_PROCESS: Final = 4096
#: What this process reads while another one starts, about.
_PAGES_AHEAD: Final = 4096
_MOST: Final = 4
_ORDINARY: Final = "r"


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one reader is told; it goes through a pipe, and never into a command line."""

    table: AuditTable
    recipe: Recipe
    key: tuple[Revealed, ...] | None = field(repr=False)
    pages: PageRange
    limit: int
    log: Path


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one reader has seen."""

    rows: int
    proved: bool
    chains: dict[bytes | None, SeenRows]


@dataclass(frozen=True, kw_only=True)
class Readers:
    """Processes of this machine that see the session's snapshot, and have other work besides."""

    #: How many there are.
    number: int
    #: Lets each share be read by `read_share`; gives what was seen in the order of the shares.
    read: Callable[[Sequence[Share]], Iterator[Seen]]


@dataclass(frozen=True, kw_only=True)
class _Own:
    """What a process is told that this module starts."""

    conninfo: str = field(repr=False)
    snapshot: str
    share: Share


def walk_table(
    session: Session,
    walker: ChainWalker,
    key: AuditKey | KeyRing | None,
    *,
    processes: int = 0,
    readers: Readers | None = None,
) -> None:
    """Let a walker see the whole table, in the session's transaction.

    `processes` is how many read at once; by default one per core, as far as the table is large
    enough. Where there are `readers`, they read all of a large table, and none is started. Raises
    StatementFailed and StorageError, whichever process meets them.
    """
    table = walker.layout.table
    # Nobody may rewrite or empty it before the last process has begun to read: to a snapshot that
    # is older than that, the table has no rows at all.
    source = quote_qualified(table.schema, table.name)
    session.execute(f"LOCK TABLE {source} IN ACCESS SHARE MODE")
    ranges = _ranges(session, table, processes, readers)
    if len(ranges) < 2:
        for block in live_blocks(session, walker.layout, pages=next(iter(ranges), None)):
            walker.feed_canonical(block)
        return
    with tempfile.TemporaryDirectory(prefix="alexandria-audit-") as folder:
        shares = [
            Share(
                table=table,
                recipe=walker.layout.recipe,
                key=revealed(key),
                pages=pages,
                limit=walker.limit,
                log=Path(folder) / str(number),
            )
            for number, pages in enumerate(ranges)
        ]
        for seen in readers.read(shares) if readers else _read(session, walker, shares):
            walker.absorb(seen.chains, rows=seen.rows, proved=seen.proved)


def read_share(session: Session, share: Share) -> Seen:
    """Read one share of a table, in the transaction of a session that sees its snapshot.

    What is remembered of the rows goes to the share's log. Raises StatementFailed and StorageError.
    """
    walker = ChainWalker(
        share.table,
        share.recipe,
        ring_of(share.key),
        limit=share.limit,
        log=RunLog(share.log),
    )
    for block in live_blocks(session, walker.layout, pages=share.pages):
        walker.feed_canonical(block)
    proved = walker.judge is not None and walker.judge.proved
    return Seen(rows=walker.rows, proved=proved, chains=walker.seen())


def _read(session: Session, walker: ChainWalker, shares: Sequence[Share]) -> Iterator[Seen]:
    """Let a walker see the first share, and yield what processes have seen of the others."""
    snapshot = session.value(load("audit")["export_snapshot"])
    conninfo = session.dsn.conninfo().reveal()
    others = [_Own(conninfo=conninfo, snapshot=snapshot, share=share) for share in shares[1:]]
    with _started(others) as pipes:
        for block in live_blocks(session, walker.layout, pages=shares[0].pages):
            walker.feed_canonical(block)
        yield from map(_received, pipes)


def _ranges(
    session: Session, table: AuditTable, processes: int, readers: Readers | None
) -> list[PageRange]:
    """Return what divides the table, in its order; nothing where it has no pages to go by."""
    if table.kind != _ORDINARY or session.server_version < PAGE_RANGES:
        return []
    pages = session.value(load("audit")["pages"], (table.schema, table.name)) or 0
    # More shares than readers: they have other work, and are not ready all at once.
    most = min(os.cpu_count() or 1, _MOST) if readers is None else readers.number * _MOST
    number = processes or max(min(most, pages // _PAGES_WORTH_A_PROCESS), 1)
    starting = readers is None and number > 1 and pages >= number * _PAGES_WORTH_A_PROCESS
    ahead = _PAGES_AHEAD if starting else 0
    cuts = [0, *(ahead + (pages - ahead) * share // number for share in range(1, number + 1))]
    # The last one is open: rows may have been added behind since the pages were counted.
    return [
        PageRange(first=first, end=end, last=share == number)
        for share, (first, end) in enumerate(pairwise(cuts), start=1)
    ]


@contextmanager
def _started(shares: Sequence[_Own]) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    started: list[tuple[BaseProcess, Connection]] = []
    try:
        for share in shares:
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(theirs,), daemon=True)
            with _interrupts_held():
                process.start()
            theirs.close()
            started.append((process, ours))
            ours.send(share)
        yield [pipe for _, pipe in started]
    finally:
        for process, pipe in started:
            pipe.close()
            process.terminate()
            process.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let what is started here never hear Ctrl-C, not even while it imports; we do afterwards."""
    # Starting the tracker would let interrupts in again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _received(pipe: Connection) -> Seen:
    try:
        answer = pipe.recv()
    except (EOFError, OSError):
        raise StatementFailed(
            "a process that read the audit chain was killed",
            hint="look for the kernel's out-of-memory killer: journalctl -k",
        ) from None
    if isinstance(answer, AlexandriaError):
        raise answer
    if not isinstance(answer, Seen):
        raise TypeError("a process answered with something else")
    return answer


def _work(pipe: Connection) -> None:
    """Read one share of the table: what the other processes run."""
    own: _Own = pipe.recv()
    try:
        with (
            connect(Dsn.parse(Secret(own.conninfo)), purpose="audit") as session,
            session.imported(own.snapshot),
        ):
            answer: Seen | AlexandriaError = read_share(session, own.share)
    except AlexandriaError as error:
        answer = StatementFailed(error.message, hint=error.hint)
    pipe.send_bytes(pickle.dumps(answer))
