"""The proof: does a database hold what the archive says? By number, digest and catalogue."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

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
) -> TableProof:
    """Compare every expected table with the database of `session`.

    `pinned` tells whether the archive's values were rendered with our settings: a digest that
    differs is then a proof of difference, otherwise only the number of rows is one. `encoding` is
    the archive's. Raises ProofFailed naming every table that differs.
    """
    found_tables = tables(session)
    partitioned = {(t.schema, t.name) for t in found_tables if t.kind == "p"}
    elsewhere = {(t.schema, t.name) for t in found_tables if t.kind == "p" and t.reads_elsewhere}
    total = sum(table.rows or 0 for table in expected)
    rows = digests = 0
    differ: list[str] = []
    unsure: list[str] = []
    for table in expected:
        if (table.schema, table.name) in elsewhere:
            unsure.append(f"{table.label}: a part of it is on another server, which is left alone")
            continue
        if not table.complete or table.rows is None:
            unsure.append(_unsure(session, table))
            continue
        only = "" if (table.schema, table.name) in partitioned else "ONLY "
        statement = _copy(table, only=only, encoding=encoding)
        found = _digest(session, statement, done=rows, total=total, emit=emit)
        rows += found.rows
        if found.rows != table.rows:
            differ.append(f"`{table.label}` has {found.rows:,} rows, {table.rows:,} expected")
        elif table.digest is None:
            unsure.append(f"{table.label}: rows counted, contents not compared")
        elif found.hexdigest() == table.digest:
            digests += 1
        elif pinned:
            differ.append(f"`{table.label}` has the right number of rows with other contents")
        else:
            unsure.append(
                f"{table.label}: rows counted; contents not compared, "
                "as the archive does not say how it renders values"
            )
    if differ:
        raise ProofFailed("what was loaded is not what the archive holds: " + "; ".join(differ))
    return TableProof(tables=len(expected), rows=rows, digests=digests, not_compared=tuple(unsure))


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


def _digest(session: Session, statement: str, *, done: int, total: int, emit: Emit) -> RowDigest:
    digest = RowDigest()
    for row in session.copy_out(statement):
        digest.add(row.removesuffix(b"\n"))
        if digest.rows % _ROWS_PER_EVENT == 0:
            emit(Progress(work="prove", done=done + digest.rows, total=total, unit="rows"))
    emit(Progress(work="prove", done=done + digest.rows, total=total, unit="rows"))
    return digest


def _copy(table: ExpectedTable, *, only: str, encoding: str) -> str:
    """Return what sends the rows that the archive has: of this table, not of its children."""
    columns = ", ".join(quote_identifier(column) for column in table.columns)
    source = only + quote_qualified(table.schema, table.name)
    # The archive's own encoding, so that equal rows are equal bytes.
    return (
        f"COPY (SELECT {columns} FROM {source}) "  # noqa: S608 - quoted
        f"TO STDOUT WITH (ENCODING {quote_literal(encoding)})"
    )


def _unsure(session: Session, table: ExpectedTable) -> str:
    found = row_count(session, table.schema, table.name)
    if table.complete:
        return f"{table.label}: {found:,} rows, not counted in the archive (its data are INSERTs)"
    return f"{table.label}: {found:,} rows, of which the archive holds those the extension marks"
