"""Retiring rows: moved to a table of their own, under a capture of exactly these rows.

All of it happens in one transaction, in which nobody else writes: the rows at hand are compared
with the capture, a row that records the retirement is appended to the chain, and then the rows are
moved. Nothing is deleted, and nothing is moved unless all of it is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from alexandria_backup.audit.capture import OpenedCapture
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.evidence import rows_of
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.retirement import ACTION, CAPTURE_COLUMN, SUFFIX
from alexandria_backup.audit.rows import RowReader
from alexandria_backup.audit.writer import NewEntry, append_in_transaction
from alexandria_backup.errors import AuditUnverified, PrecheckRefused
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import (
    quote_identifier,
    quote_literal,
    quote_qualified,
)
from alexandria_backup.postgres.queries import load


@dataclass(frozen=True, kw_only=True)
class Retired:
    """What was retired, or would be."""

    table: str
    #: Where the rows are now.
    retired_table: str
    rows: int
    #: SHA-256 of the capture.
    capture: str
    #: The id of the row that records it; None for a plan.
    entry: str | None
    statements: tuple[str, ...]


def plan(table: AuditTable, capture: OpenedCapture) -> Retired:
    """Return what would be done."""
    return Retired(
        table=str(table),
        retired_table=f"{table}{SUFFIX}",
        rows=len(capture.rows),
        capture=capture.sha256,
        entry=None,
        statements=_statements(table, capture, "…", "…"),
    )


def retire(
    session: Session,
    *,
    table: AuditTable,
    recipe: Recipe,
    key: bytes,
    capture: OpenedCapture,
    operator: str,
    reason: str,
) -> Retired:
    """Move the captured rows, in one transaction.

    Raises PrecheckRefused where the capture is of another database or table, or of other rows than
    are there now; StatementFailed, and what `append` raises. Then nothing has changed.
    """
    refuse_other_place(session, table, capture)
    with session.transaction():
        source = quote_qualified(table.schema, table.name)
        session.execute(f"LOCK TABLE {source} IN SHARE ROW EXCLUSIVE MODE")
        refuse_other_rows(session, table, recipe, capture)
        entry = append_in_transaction(
            session,
            table=table,
            recipe=recipe,
            key=key,
            entry=NewEntry(principal=operator, action=ACTION, metadata=_record(capture, reason)),
            # What is at fault is not gone on from; a good head may well be all that there is.
            passing_over=() if capture.facts.head else [row.id for row in capture.rows],
        )
        statements = _statements(table, capture, operator, reason)
        _move(session, statements, len(capture.rows))
        session.execute(load("audit")["make_retirements"])
        session.execute(
            load("audit")["record_retirement"],
            (str(table), capture.sha256, entry.id, operator, reason),
        )
    return Retired(
        table=str(table),
        retired_table=f"{table}{SUFFIX}",
        rows=len(capture.rows),
        capture=capture.sha256,
        entry=entry.id,
        statements=statements,
    )


def _move(session: Session, statements: Sequence[str], rows: int) -> None:
    """Run the statements, of which the last two move and remove all `rows` or nothing."""
    for statement in statements[:-2]:
        session.execute(statement)
    moved, removed = (session.execute(statement) for statement in statements[-2:])
    if not moved == removed == rows:
        raise PrecheckRefused(
            f"{moved:,} rows would be moved and {removed:,} removed, and the capture has "
            f"{rows:,}: nothing was changed",
            hint="look for triggers and rules of the table",
        )


def refuse_other_place(session: Session, table: AuditTable, capture: OpenedCapture) -> None:
    """Raise PrecheckRefused where a capture was made of another database or table."""
    facts = capture.facts
    here = (session.dsn.database, str(table))
    if (facts.database, facts.table) != here:
        raise PrecheckRefused(
            f"the capture is of `{facts.table}` in database `{facts.database}`, "
            f"and this is `{here[1]}` in `{here[0]}`",
            hint="alexandria audit capture --out …",
        )
    if not capture.rows:
        raise PrecheckRefused("the capture holds no rows that could be retired")


def refuse_other_rows(
    session: Session, table: AuditTable, recipe: Recipe, capture: OpenedCapture
) -> None:
    """Raise PrecheckRefused where the rows at hand are not those of the capture, byte for byte."""
    reader = RowReader(table, recipe)
    there = {
        ident: sorted(sha256(reader.canonical(line)).hexdigest() for line in lines)
        for ident, lines in rows_of(session, table, recipe, (r.id for r in capture.rows)).items()
    }
    wanted: dict[str, list[str]] = {}
    for row in capture.rows:
        wanted.setdefault(row.id, []).append(row.sha256)
    gone = [ident for ident in wanted if ident not in there]
    other = [ident for ident in wanted if ident in there and sorted(wanted[ident]) != there[ident]]
    if gone or other:
        raise PrecheckRefused(
            f"the capture is of other rows: {len(gone):,} of {len(wanted):,} are gone and "
            f"{len(other):,} have changed since, such as `{(gone or other)[0]}`",
            hint="alexandria audit capture --out …   # of the rows as they are now",
        )


def _record(capture: OpenedCapture, reason: str) -> str:
    """Return what the chain itself says of it, in the form that `jsonb` would leave alone."""
    head = capture.facts.head
    told = {
        "head": None if head is None else list(head),
        "rows": len(capture.rows),
        "digest": capture.facts.rows_digest,
        "reason": reason,
        "capture": capture.sha256,
    }
    return json.dumps(told, ensure_ascii=False)


def _statements(
    table: AuditTable, capture: OpenedCapture, operator: str, reason: str
) -> tuple[str, ...]:
    source = quote_qualified(table.schema, table.name)
    target = quote_qualified(table.schema, f"{table.name}{SUFFIX}")
    columns = ", ".join(map(quote_identifier, table.order))
    ident = quote_identifier(table.columns[Role.ID])
    listed = ", ".join(quote_literal(row.id) for row in capture.rows)
    told = ", ".join(map(quote_literal, (operator, reason, capture.sha256)))
    added = ("retired_at", "retired_by", "retired_reason", CAPTURE_COLUMN)
    clash = [name for name in added if name in table.order]
    if clash:
        raise AuditUnverified(f"`{table}` has a column `{clash[0]}` itself: rows cannot be retired")
    return (
        f"CREATE TABLE IF NOT EXISTS {target} (LIKE {source}, retired_at timestamptz NOT NULL, "
        f"retired_by text NOT NULL, retired_reason text NOT NULL, {CAPTURE_COLUMN} text NOT NULL)",
        f"INSERT INTO {target} ({columns}, {', '.join(added)}) "  # noqa: S608 - quoted
        f"SELECT {columns}, now(), {told} FROM {source} WHERE {ident}::text IN ({listed})",
        f"DELETE FROM {source} WHERE {ident}::text IN ({listed})",  # noqa: S608 - quoted
    )
