"""Collecting evidence: verify, then read the rows that matter, in one state of the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.capture_rows import CapturedRow, captured, set_digest
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.held import held
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.live_rows import live_lines
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.rows import RowReader
from alexandria_backup.audit.verify import verify_in_transaction, verify_rows
from alexandria_backup.errors import AuditUnverified, UsageError
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal

#: More findings than this are no rows at fault, but another chain.
MOST_ROWS: Final = 1_000_000
#: Ids in one query.
_TOGETHER: Final = 1000
#: Verdicts that name a row which is gone, or none at all.
_NO_ROW: Final = frozenset({Code.KEY_OR_ENCODING, Code.BEHIND_ANCHOR})


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was found in one state of the database."""

    report: AuditReport
    #: What was collected, in words.
    scope: str
    rows: tuple[CapturedRow, ...]
    #: The rows before and after those at fault.
    neighbours: tuple[CapturedRow, ...]
    #: The chain whose first rows these are, how many, and the HMAC of the last one; else None.
    head: tuple[str, int, str] | None

    @property
    def digest(self) -> str:
        """The digest over the rows, whatever their order."""
        return set_digest(self.rows)


def collect(
    session: Session,
    *,
    table: AuditTable,
    recipe: Recipe,
    key: AuditKey | KeyRing | None,
    anchors: Sequence[Anchor] = (),
    through: str | None = None,
) -> Evidence:
    """Verify the chain and collect the rows that its findings name, or its head through a row.

    Raises AuditUnverified where no row is at fault, or too many are to be told one by one;
    UsageError where `through` is no row, or what goes before it is not the head of a chain.
    """
    with held(session, table) as there:
        report = verify_in_transaction(
            session, table=there, recipe=recipe, key=key, anchors=anchors, limit=MOST_ROWS
        )
        if through is not None:
            return _head(session, there, recipe, report, key=key, through=through)
        return _at_fault(session, there, recipe, report)


def rows_of(
    session: Session, table: AuditTable, recipe: Recipe, ids: Iterable[str]
) -> dict[str, list[bytes]]:
    """Return the lines of COPY text of rows by id; an id may be there more than once."""
    found: dict[str, list[bytes]] = {}
    reader = RowReader(table, recipe)
    column = quote_identifier(table.columns[Role.ID])
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _TOGETHER):
        some = wanted[start : start + _TOGETHER]
        listed = ", ".join(map(quote_literal, some))
        for line in live_lines(session, table, where=f"{column}::text IN ({listed})"):
            ident = reader.layout.id_of(reader.canonical(line)).decode()
            found.setdefault(ident, []).append(line)
    return found


def _at_fault(session: Session, table: AuditTable, recipe: Recipe, report: AuditReport) -> Evidence:
    counted = sum(report.counts.values())
    if counted > len(report.findings):
        raise AuditUnverified(
            f"{counted:,} findings are more than can be captured row by row",
            hint="alexandria snapshot create --note evidence   # keep all of it",
        )
    verdicts: dict[str, list[str]] = {}
    for finding in report.findings:
        if finding.code not in _NO_ROW:
            verdicts.setdefault(finding.id, []).append(finding.code)
    if not counted:
        raise AuditUnverified(
            f"there is nothing to capture: {report.summary()}",
            hint="alexandria audit capture --through ID   # the head of the chain, to retire it",
        )
    near = {i for f in report.findings for i in (f.before, f.after) if i is not None}
    reader = RowReader(table, recipe)
    lines = rows_of(session, table, recipe, (*verdicts, *near))
    return Evidence(
        report=report,
        scope="the rows that the findings name",
        rows=tuple(
            captured(line, reader, codes)
            for ident, codes in verdicts.items()
            for line in lines.get(ident, ())
        ),
        neighbours=tuple(
            captured(line, reader, ())
            for ident in sorted(near - verdicts.keys())
            for line in lines.get(ident, ())
        ),
        head=None,
    )


def _head(
    session: Session,
    table: AuditTable,
    recipe: Recipe,
    report: AuditReport,
    *,
    key: AuditKey | KeyRing | None,
    through: str,
) -> Evidence:
    if report.status not in {Status.INTACT, Status.VERIFIED}:
        raise AuditUnverified(
            f"only the head of a good chain is retired: {report.summary()}",
            hint="alexandria audit capture --out …   # first what is at fault",
        )
    column = quote_identifier(table.columns[Role.ID])
    where = f'{column}::text COLLATE "C" <= {quote_literal(through)}'
    lines = list(live_lines(session, table, where=where))
    if len(lines) > MOST_ROWS:
        raise UsageError(f"more than {MOST_ROWS:,} rows go before `{through}`")
    head = verify_rows(lines, table, recipe=recipe, key=key)
    anchor = head.anchors[0] if len(head.anchors) == 1 else None
    if anchor is None or head.findings or anchor.last_id != through or anchor.count != len(lines):
        raise UsageError(
            f"the rows up to `{through}` are not the head of one chain: {head.summary()}",
            hint="name a row by its id; earlier heads must be retired in order",
        )
    reader = RowReader(table, recipe)
    return Evidence(
        report=report,
        scope=f"the first {anchor.count:,} rows of the chain, through `{through}`",
        rows=tuple(captured(line, reader, ()) for line in lines),
        neighbours=(),
        head=(anchor.chain, anchor.count, anchor.last_hmac),
    )
