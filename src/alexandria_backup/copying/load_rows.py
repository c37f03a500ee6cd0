"""The rows of an archive that is taken apart, loaded by several sessions at once."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
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
from alexandria_backup.errors import AlexandriaError, SnapshotDamaged, StatementFailed
from alexandria_backup.events import Progress
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.identifiers import quote_literal
from alexandria_backup.postgres.queries import load as queries


@dataclass(kw_only=True)
class TableLoad:
    """A table whose rows are being loaded."""

    table: TableApart
    #: Numbers of what to build when they are in.
    early: frozenset[int]
    #: The rows that are not in yet, by their place among all.
    missing: dict[int, RowsApart]


class _Loaded(NamedTuple):
    """Rows that are in."""

    table: TableLoad
    number: int


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
        first.extend(partial(self._build, table) for table in self._tables if not table.missing)
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
                if loaded is None:
                    continue
                # Here and not by the threads: only one of them may see the last rows go.
                del loaded.table.missing[loaded.number]
                if not loaded.table.missing:
                    first.append(partial(self._build, loaded.table))

    def _rows(self) -> Iterator[Callable[[], _Loaded]]:
        for table in self._tables:
            for number in tuple(table.missing):
                yield partial(self._copy_in, table, number)

    # ── what a thread does ───────────────────────────────────────────────────────────────────────

    def _copy_in(self, table: TableLoad, number: int) -> _Loaded:
        oid, rows = table.table.oid, table.missing[number]
        statement = _copy_statement(table.table.copy_statement, self._apart.encoding)
        chunks = self._heedful(rows.text())
        first = next(chunks, None)
        with self._session() as session, session.transaction():
            found = session.copy_in(statement, _chained(first, chunks))
            if found != rows.rows:
                raise SnapshotDamaged(
                    f"{found:,} rows of `{table.table.label}` were loaded where the snapshot has "
                    f"{rows.rows:,}"
                )
            note_rows(session, oid, number)
        return _Loaded(table, number)

    def _load_base(self, keep: Callable[[TocEntry], bool]) -> None:
        with self._session() as session:
            note_base_begun(session)
            # Owners of large objects stand beside their data.
            base = with_roles(self._load, self._apart.base())
            chunks = self._heedful(base, counted=False)
            run_pg_restore(self._load, chunks, keep, "--section=data")
            note_base(session)

    def _build(self, table: TableLoad) -> None:
        if table.early:
            with self._session():
                run_pg_restore(self._load, self._schema, lambda entry: entry.dump_id in table.early)

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


def _chained(first: bytes | None, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first is not None:
        yield first
    yield from rest
