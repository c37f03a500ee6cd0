"""The rows of an archive that is taken apart, loaded by several sessions at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event as Flag
from threading import Lock
from typing import NamedTuple

from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.archive_source import ArchiveApart, RowsApart, TableApart
from alexandria_backup.copying.load_progress import note_base, note_base_begun, note_rows
from alexandria_backup.copying.loading import Loading, run_pg_restore, with_roles
from alexandria_backup.copying.proof import copied_out
from alexandria_backup.errors import (
    AlexandriaError,
    ProofFailed,
    SnapshotDamaged,
    StatementFailed,
)
from alexandria_backup.events import Progress
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.identifiers import quote_literal
from alexandria_backup.postgres.queries import load as queries
from alexandria_backup.sealing.digests import RowSum


@dataclass(kw_only=True)
class TableLoad:
    """A table whose rows are being loaded."""

    table: TableApart
    #: Numbers of what to build when they are in.
    early: frozenset[int]
    #: The rows that are not in yet, by their place among all.
    missing: dict[int, RowsApart]
    #: What this process has loaded of them.
    fed: dict[int, RowSum] = field(default_factory=dict)


class _Loaded(NamedTuple):
    """Rows that are in."""

    table: TableLoad
    number: int
    fed: RowSum


class RowsLoad:
    """The data of an archive, on its way in."""

    def __init__(
        self,
        load: Loading,
        apart: ArchiveApart,
        *,
        schema: Path,
        tables: Sequence[TableLoad],
        base: Callable[[TocEntry], bool] | None,
    ) -> None:
        """Prepare to load `tables` and the entries of the base archive that `base` lets through.

        `schema` is the archive that has the entries without data. `base` is None where the base
        archive's data are in already.
        """
        self._load = load
        self._apart = apart
        self._schema = schema
        self._tables = tables
        self._base = base
        #: As many as may be at work on the server; whoever works has taken one.
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        self._stop = Flag()
        self._telling = Lock()
        self._total = sum(rows.raw_bytes for table in apart.tables for rows in table.rows)
        self._done = self._total - sum(
            rows.raw_bytes for table in tables for rows in table.missing.values()
        )

    def load(self) -> None:
        """Load all of it, and build what needs one table only."""
        with ExitStack() as opened:
            for _ in range(self._load.options.jobs):
                session = opened.enter_context(connect(self._load.dsn, purpose="load"))
                session.execute(queries("load")["settle"])
                self._sessions.put(session)
            # Twice as many threads: while one waits for a session, it has read its first part.
            threads = 2 * self._load.options.jobs
            with ThreadPoolExecutor(threads, thread_name_prefix="load") as pool:
                try:
                    self._work_off(pool, threads)
                except BaseException:
                    self._give_up()
                    raise

    def _work_off(self, pool: ThreadPoolExecutor, threads: int) -> None:
        rows = self._rows()
        first: deque[Callable[[], _Loaded | None]] = deque()
        if self._base is not None:
            first.append(partial(self._load_base, self._base))
        for table in self._tables:
            if not table.missing:
                first.extend(self._when_in(table))
        pending: set[Future[_Loaded | None]] = set()
        while True:
            while len(pending) < threads:
                task = first.popleft() if first else next(rows, None)
                if task is None:
                    break
                pending.add(pool.submit(task))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                loaded = future.result()
                if loaded is not None:
                    first.extend(self._note(loaded))

    def _rows(self) -> Iterator[Callable[[], _Loaded]]:
        for table in self._tables:
            for number in tuple(table.missing):
                yield partial(self._copy_in, table, number)

    def _note(self, loaded: _Loaded) -> Iterable[Callable[[], None]]:
        """Return what can be done now; not by the threads: one only may see the last rows go."""
        table = loaded.table
        del table.missing[loaded.number]
        table.fed[loaded.number] = loaded.fed
        return () if table.missing else self._when_in(table)

    def _when_in(self, table: TableLoad) -> Iterator[Callable[[], None]]:
        """Yield what can be done as soon as all rows of a table are in."""
        if table.early:
            yield partial(self._build, table)
        if self._load.pinned:
            yield partial(self._read_back, table)

    # ── what a thread does ───────────────────────────────────────────────────────────────────────

    def _copy_in(self, table: TableLoad, number: int) -> _Loaded:
        oid, rows = table.table.oid, table.missing[number]
        statement = _copy_statement(table.table.copy_statement, self._apart.encoding)
        fed = RowSum()
        chunks = self._heedful(_summed(rows.text(), fed))
        first = next(chunks, None)
        with self._session() as session, session.transaction():
            found = session.copy_in(statement, _chained(first, chunks))
            if found != rows.rows:
                raise SnapshotDamaged(
                    f"{found:,} rows of `{table.table.label}` were loaded where the snapshot has "
                    f"{rows.rows:,}"
                )
            note_rows(session, oid, number)
        return _Loaded(table, number, fed)

    def _load_base(self, keep: Callable[[TocEntry], bool]) -> None:
        with self._session() as session:
            note_base_begun(session)
            # Owners of large objects stand beside their data.
            base = with_roles(self._load, self._apart.base())
            chunks = self._heedful(base, counted=False)
            run_pg_restore(self._load, chunks, keep, "--section=data")
            note_base(session)

    def _build(self, table: TableLoad) -> None:
        with self._session():
            run_pg_restore(self._load, self._schema, lambda entry: entry.dump_id in table.early)

    def _read_back(self, table: TableLoad) -> None:
        """Read a table from the server; raises ProofFailed unless its rows are those it was fed.

        What an earlier process has loaded is fetched once more, to be compared with.
        """
        expected, found = RowSum(), RowSum()
        for number, rows in enumerate(table.table.rows):
            fed = table.fed.get(number)
            if fed is None:
                fed = RowSum()
                for chunk in self._heedful(rows.text(), counted=False):
                    fed.add_text(chunk)
            expected.add(fed)
        with self._session() as session:
            batches = copied_out(session, table.table, encoding=self._apart.encoding)
            for batch in self._heedful(batches, counted=False):
                found.add_text(batch)
        if found != expected:
            raise ProofFailed(
                f"what was loaded is not what the archive holds: `{table.table.label}` has "
                f"{found.rows:,} rows, {expected.rows:,} expected"
                + (", with other contents" if found.rows == expected.rows else "")
            )

    @contextmanager
    def _session(self) -> Iterator[Session]:
        session = self._sessions.get()
        try:
            self._refuse_to_go_on()
            yield session
        finally:
            self._sessions.put(session)

    def _heedful(self, chunks: Iterator[bytes], *, counted: bool = True) -> Iterator[bytes]:
        for chunk in chunks:
            self._refuse_to_go_on()
            yield chunk
            if counted:
                self._tell(len(chunk))

    def _tell(self, size: int) -> None:
        with self._telling:
            self._done += size
            self._load.emit(
                Progress(
                    work=f"load {self._load.archive.name}",
                    done=self._done,
                    total=self._total,
                    unit="bytes",
                )
            )

    def _refuse_to_go_on(self) -> None:
        if self._stop.is_set():
            raise StatementFailed("the load was given up")

    def _give_up(self) -> None:
        """End all sessions of this load: a COPY or an index may take hours to its end."""
        self._stop.set()
        # What went wrong first is what the caller must see.
        with (
            suppress(AlexandriaError),
            connect(self._load.dsn, purpose="give up") as session,
        ):
            session.execute(queries("load")["end_sessions"])


def _copy_statement(statement: str, encoding: str) -> str:
    return f"{statement.rstrip().removesuffix(';')} WITH (ENCODING {quote_literal(encoding)})"


def _summed(chunks: Iterator[bytes], fed: RowSum) -> Iterator[bytes]:
    for chunk in chunks:
        fed.add_text(chunk)
        yield chunk


def _chained(first: bytes | None, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first is not None:
        yield first
    yield from rest
