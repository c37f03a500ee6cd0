"""The proof: does a database hold what the archive says? By number, digest and catalogue."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.copying.archive_source import TableApart
from alexandria_backup.errors import ProofFailed
from alexandria_backup.events import Emit, Progress
from alexandria_backup.postgres.catalog import (
    invalid_indexes,
    large_object_count,
    row_count,
    tables,
    unvalidated_constraints,
)
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal, quote_qualified
from alexandria_backup.sealing.digests import RowDigest

#: How often progress is told while rows are read.
_ROWS_PER_EVENT = 50_000
#: How much is read back at once.
_BATCH_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class ExpectedTable:
    """What the archive says of one table."""

    schema: str
    name: str
    columns: tuple[str, ...]
    rows: int | None
    digest: str | None
    #: False where the archive may hold only part of the rows, as of an extension's own tables.
    complete: bool = True

    @property
    def label(self) -> str:
        """The name as people write it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class TableProof:
    """What was compared of the tables, and came out equal."""

    tables: int
    rows: int
    digests: int
    #: One line for each thing that could not be compared.
    not_compared: tuple[str, ...]


def prove_tables(
    session: Session,
    expected: Sequence[ExpectedTable],
    *,
    pinned: bool,
    encoding: str,
    emit: Emit,
    read_back: Collection[str] = (),
) -> TableProof:
    """Compare every expected table with the database of `session`.

    Of those that were `read_back` while they were loaded, by their labels, only the number of rows
    is compared once more.

    `pinned` tells whether the archive's values were rendered with our settings: a digest that
    differs is then a proof of difference, otherwise only the number of rows is one. `encoding` is
    the archive's. Raises ProofFailed naming every table that differs.
    """
    comparison = _Comparison(
        session, expected, pinned=pinned, encoding=encoding, emit=emit, read_back=read_back
    )
    for table in expected:
        comparison.compare(table)
    return comparison.result()


class _Comparison:
    """What was compared so far."""

    def __init__(
        self,
        session: Session,
        expected: Sequence[ExpectedTable],
        *,
        pinned: bool,
        encoding: str,
        emit: Emit,
        read_back: Collection[str],
    ) -> None:
        self._session = session
        self._pinned = pinned
        self._encoding = encoding
        self._emit = emit
        self._read_back = read_back
        roots = [table for table in tables(session) if table.kind == "p"]
        self._partitioned = {(t.schema, t.name) for t in roots}
        self._elsewhere = {(t.schema, t.name) for t in roots if t.reads_elsewhere}
        self._tables = len(expected)
        self._total = sum(table.rows or 0 for table in expected)
        self._rows = self._digests = 0
        self._differ: list[str] = []
        self._unsure: list[str] = []

    def compare(self, table: ExpectedTable) -> None:
        """Compare one table."""
        if (table.schema, table.name) in self._elsewhere:
            self._unsure.append(
                f"{table.label}: a part of it is on another server, which is left alone"
            )
        elif not table.complete or table.rows is None:
            self._unsure.append(_unsure(self._session, table))
        elif table.label in self._read_back:
            found = row_count(self._session, table.schema, table.name)
            self._tell(found)
            if self._is_whole(table, found):
                self._digests += 1
        else:
            self._read(table)

    def result(self) -> TableProof:
        """Raise ProofFailed where anything differs."""
        if self._differ:
            raise ProofFailed(
                "what was loaded is not what the archive holds: " + "; ".join(self._differ)
            )
        return TableProof(
            tables=self._tables,
            rows=self._rows,
            digests=self._digests,
            not_compared=tuple(self._unsure),
        )

    def _read(self, table: ExpectedTable) -> None:
        statement = _copy(
            table.schema,
            table.name,
            table.columns,
            only=(table.schema, table.name) not in self._partitioned,
            encoding=self._encoding,
        )
        found = RowDigest()
        for row in self._session.copy_out(statement):
            found.add(row.removesuffix(b"\n"))
            if found.rows % _ROWS_PER_EVENT == 0:
                self._emit(self._progress(self._rows + found.rows))
        self._tell(found.rows)
        if not self._is_whole(table, found.rows):
            return
        if table.digest is None:
            self._unsure.append(f"{table.label}: rows counted, contents not compared")
        elif found.hexdigest() == table.digest:
            self._digests += 1
        elif self._pinned:
            self._differ.append(f"`{table.label}` has the right number of rows with other contents")
        else:
            self._unsure.append(
                f"{table.label}: rows counted; contents not compared, "
                "as the archive does not say how it renders values"
            )

    def _is_whole(self, table: ExpectedTable, rows: int) -> bool:
        if rows != table.rows:
            self._differ.append(f"`{table.label}` has {rows:,} rows, {table.rows:,} expected")
        return rows == table.rows

    def _tell(self, rows: int) -> None:
        self._rows += rows
        self._emit(self._progress(self._rows))

    def _progress(self, done: int) -> Progress:
        return Progress(work="prove", done=done, total=self._total, unit="rows")


def prove_catalogue(
    session: Session, *, large_objects: int, not_validated: Collection[str]
) -> None:
    """Raise ProofFailed where an index is invalid, a constraint unchecked, a large object missing.

    `not_validated` are the constraints that were not validated in the source either.
    """
    broken = invalid_indexes(session)
    if broken:
        raise ProofFailed("indexes are not valid: " + ", ".join(f"`{name}`" for name in broken))
    unchecked = [name for name in unvalidated_constraints(session) if name not in not_validated]
    if unchecked:
        names = ", ".join(f"`{name}`" for name in unchecked)
        raise ProofFailed(f"constraints were not checked against the rows: {names}")
    found = large_object_count(session)
    if found != large_objects:
        raise ProofFailed(f"{found:,} large objects were loaded, {large_objects:,} expected")


def copied_out(session: Session, table: TableApart, *, encoding: str) -> Iterator[bytes]:
    """Yield what the server holds of a table, as COPY text in `encoding`, cut anywhere."""
    target = columns_of(table.copy_statement)
    statement = _copy(
        target.schema or "", target.table, target.columns, only=True, encoding=encoding
    )
    return iter(session.copy_out_batches(statement, batch_bytes=_BATCH_BYTES))


def _copy(schema: str, name: str, columns: Sequence[str], *, only: bool, encoding: str) -> str:
    """Return what sends a table's rows as an archive in `encoding` has them.

    `only` leaves out the rows of its children, which are tables of their own.
    """
    listed = ", ".join(quote_identifier(column) for column in columns)
    source = ("ONLY " if only else "") + quote_qualified(schema, name)
    # The archive's own encoding, so that equal rows are equal bytes.
    return (
        f"COPY (SELECT {listed} FROM {source}) "  # noqa: S608 - quoted
        f"TO STDOUT WITH (ENCODING {quote_literal(encoding)})"
    )


def _unsure(session: Session, table: ExpectedTable) -> str:
    found = row_count(session, table.schema, table.name)
    if table.complete:
        return f"{table.label}: {found:,} rows, not counted in the archive (its data are INSERTs)"
    return f"{table.label}: {found:,} rows, of which the archive holds those the extension marks"
