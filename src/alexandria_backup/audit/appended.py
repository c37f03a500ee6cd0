"""Verifying only what was appended since an anchor, where somebody knows that the rest is the same.

A snapshot that takes rows over from an earlier one has found out, by the server's own bookkeeping,
that their pages did not change. Their HMACs and links were checked then. What is left is the rows
of pages that did change, the new rows, and the seam between: the row at the anchor's position must
still carry the anchored HMAC.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from alexandria_backup.audit.anchor import BLOCK_ROWS, Anchor
from alexandria_backup.audit.anchoring import Resumed
from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.incarnation import incarnations
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.live_rows import live_lines
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.retirement import retired_table
from alexandria_backup.audit.rows import RowReader
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified

_BATCH: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Appended:
    """What is known of a table since an earlier snapshot."""

    #: The chain's anchor then.
    anchor: Anchor
    #: The snapshot, for the report.
    since: str
    #: Rows that were added; none was removed.
    new_rows: int
    #: Rows on the first page that is not known to be the same, and on all pages behind it.
    changed_rows: int
    first_changed_page: int


def verify_appended(
    session: Session,
    *,
    table: AuditTable,
    recipe: Recipe,
    key: AuditKey | KeyRing | None,
    appended: Appended,
) -> AuditReport | None:
    """Verify the last rows of a chain and their seam with an anchor, in the open transaction.

    For a caller who knows that all other rows are those that were verified when the anchor was
    taken. The cost is that of the rows which are read: those changed or added, and at most 4095
    more to go on with the anchor's digest. The report counts all rows, has the new anchor, says
    how many rows were not read again (so it is `intact` at best, never `verified`), and is exactly
    as good as what the caller knows.

    None where the whole chain must be verified instead: several chains, retired rows, an anchor of
    the first release or of another incarnation, or anything at all that is wrong with the last
    rows. Raises StatementFailed.
    """
    anchor = appended.anchor
    full = anchor.count // BLOCK_ROWS * BLOCK_ROWS
    total = anchor.count + appended.new_rows
    position = min(full, total - appended.changed_rows)
    known = incarnations(session)
    if (
        recipe.per_tenant
        or anchor.settled is None
        or position <= 0
        or table.doubts
        or known.current != anchor.incarnation
        or retired_table(session, table) is not None
    ):
        return None
    walker = ChainWalker(table, recipe, key, anchors=(anchor,))
    try:
        lines = _last_lines(session, table, total - position)
        if len(lines) != total - position:
            return None
        first = RowReader(table, recipe).read(lines[0])
        if _oldest_changed(session, table, appended) < first.id:
            return None
        previous = recipe.read(first.prev_hmac or b"")
        if previous is None:
            return None
        for start in range(0, len(lines), _BATCH):
            walker.feed(lines[start : start + _BATCH])
        resumed = Resumed(previous=previous, position=position, anchor=anchor)
        report = walker.finish(incarnations=known, resumed=resumed)
    finally:
        walker.close()
    if report.counts or not report.anchors or report.anchors[0].count != total:
        return None
    return _told(report, appended, total, position)


def _last_lines(session: Session, table: AuditTable, number: int) -> list[bytes]:
    """Return the rows with the greatest ids, in the order of their ids."""
    ident = quote_identifier(table.columns[Role.ID])
    newest = f'TRUE ORDER BY {ident}::text COLLATE "C" DESC'
    lines: Iterator[bytes] = live_lines(session, table, where=newest, limit=number)
    return list(lines)[::-1]


def _oldest_changed(session: Session, table: AuditTable, appended: Appended) -> bytes:
    """Return the least id on pages that have changed: all rows there must be among the last."""
    ident = quote_identifier(table.columns[Role.ID])
    oldest = session.value(
        # Of a fence's inside: the least one of all would be looked for in the order of the ids,
        # from the first row of the table on.
        f'SELECT min(id) FROM (SELECT {ident}::text COLLATE "C" AS id '  # noqa: S608 - quoted
        f"FROM {quote_qualified(table.schema, table.name)} "
        f"WHERE ctid >= '({appended.first_changed_page},0)'::tid OFFSET 0) AS changed"
    )
    return str(oldest or "").encode()


def _told(report: AuditReport, appended: Appended, total: int, position: int) -> AuditReport:
    unread = (
        f"{position:,} rows were not read again: their pages are those of `{appended.since}`, "
        f"and were verified then"
    )
    status = Status.INTACT if report.status is Status.VERIFIED else report.status
    return replace(
        report,
        status=status,
        rows=total,
        skipped=(*report.skipped, unread),
        notes=(
            *report.notes,
            f"{appended.new_rows:,} new rows verified, {appended.anchor.count:,} unchanged since "
            f"`{appended.since}`",
        ),
    )
