"""Load an archive that is taken apart, by several sessions at once.

Schema and everything subtle is pg_restore's work, from the entries that own no data. The rows of
large tables go into parallel COPYs, several into one table; the base archive's data, which is all
the rest, goes in beside them. A table's indexes and keys are built as soon as its rows are in, and
what depends on several tables comes last.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event as Flag
from threading import Lock
from typing import Final

from alexandria_backup.archive.toc import Section, TocEntry
from alexandria_backup.copying.archive_source import ArchiveApart, RowsApart, TableApart
from alexandria_backup.copying.loading import Loading, private_file, run_pg_restore
from alexandria_backup.errors import AlexandriaError, SnapshotDamaged, StatementFailed
from alexandria_backup.events import Progress
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.identifiers import quote_literal
from alexandria_backup.postgres.queries import load as queries

#: Kinds of entries that need nothing but their own table.
_OF_ONE_TABLE: Final = frozenset({"INDEX", "CONSTRAINT"})


def load_apart(load: Loading, apart: ArchiveApart, keep: Callable[[TocEntry], bool]) -> None:
    """Load the entries that `keep` lets through into an empty database.

    Raises ClientToolFailed or StatementFailed at the first error, and whatever reading raises; no
    session of this load is left then.
    """
    with private_file(apart.schema, ".pgdump") as schema:
        wanted = {entry.dump_id for entry in load.entries if keep(entry)}
        without_data = {entry.dump_id for entry in load.entries if not entry.had_dumper} & wanted
        early = _entries_of_one_table(load, apart) & without_data
        run_pg_restore(load, schema, lambda e: e.dump_id in without_data, "--section=pre-data")
        _Rows(load, apart, schema, wanted, early).load()
        run_pg_restore(
            load,
            schema,
            lambda e: e.dump_id in without_data - early,
            "--section=post-data",
            f"--jobs={load.options.jobs}",
        )


def _table_entries(load: Loading) -> dict[int, TocEntry]:
    """Return the entries that define tables, by the OIDs of these."""
    return {entry.oid: entry for entry in load.entries if entry.description == "TABLE"}


def _entries_of_one_table(load: Loading, apart: ArchiveApart) -> set[int]:
    """Return the numbers of what can be built as soon as the rows of one such table are in."""
    tables = {_table_entries(load)[table.oid].dump_id for table in apart.tables}
    late = {entry.dump_id for entry in load.entries if entry.section is Section.POST_DATA}
    return {
        entry.dump_id
        for entry in load.entries
        if entry.description in _OF_ONE_TABLE
        and tables.intersection(entry.dependencies)
        # An index of a partition may need the one of its parent.
        and not late.intersection(entry.dependencies)
    }


@dataclass
class _Table:
    """A table whose rows are being loaded."""

    table: TableApart
    #: What to build when they are in.
    early: set[int]
    waiting: int = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = len(self.table.rows)


class _Rows:
    """The data of an archive, on its way in."""

    def __init__(
        self,
        load: Loading,
        apart: ArchiveApart,
        schema: Path,
        wanted: set[int],
        early: set[int],
    ) -> None:
        self._load = load
        self._apart = apart
        self._schema = schema
        self._wanted = wanted
        entries = _table_entries(load)
        self._tables = [
            _Table(
                table=table,
                early={
                    entry.dump_id
                    for entry in load.entries
                    if entry.dump_id in early and entries[table.oid].dump_id in entry.dependencies
                },
            )
            for table in apart.tables
        ]
        #: As many as may be at work on the server; whoever works has taken one.
        self._sessions: SimpleQueue[Session] = SimpleQueue()
        self._stop = Flag()
        self._telling = Lock()
        self._done = 0
        self._total = sum(rows.raw_bytes for t in apart.tables for rows in t.rows)

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
        first: deque[Callable[[], _Table | None]] = deque([self._load_base])
        first.extend(partial(self._build, table) for table in self._tables if not table.waiting)
        pending: set[Future[_Table | None]] = set()
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
                table = future.result()
                if table is None:
                    continue
                table.waiting -= 1
                if table.waiting == 0:
                    first.append(partial(self._build, table))

    def _rows(self) -> Iterator[Callable[[], "_Table | None"]]:
        for table in self._tables:
            for rows in table.table.rows:
                yield partial(self._copy_in, table, rows)

    # ── what a thread does ───────────────────────────────────────────────────────────────────────

    def _copy_in(self, table: _Table, rows: RowsApart) -> _Table:
        chunks = self._heedful(rows.text())
        first = next(chunks, None)
        with self._session() as session:
            statement = _copy_statement(table.table.copy_statement, self._apart.encoding)
            found = session.copy_in(statement, _chained(first, chunks))
        if found != rows.rows:
            raise SnapshotDamaged(
                f"{found:,} rows of `{table.table.label}` were loaded where the snapshot has "
                f"{rows.rows:,}"
            )
        return table

    def _load_base(self) -> None:
        framed = {table.table.oid for table in self._tables}
        with self._session():
            run_pg_restore(
                self._load,
                self._heedful(self._apart.base(), counted=False),
                lambda entry: (
                    entry.dump_id in self._wanted
                    and not (entry.description == "TABLE DATA" and entry.oid in framed)
                ),
                "--section=data",
            )

    def _build(self, table: _Table) -> None:
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
