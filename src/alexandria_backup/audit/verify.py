"""Verification in one call: rows at hand, or the live table inside one transaction."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.comparing import compare
from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.held import held
from alexandria_backup.audit.incarnation import incarnations
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.live_rows import live_lines
from alexandria_backup.audit.parallel import Readers, walk_table
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.report import AuditReport, absent
from alexandria_backup.audit.retirement import RetiredRows, retired_table
from alexandria_backup.audit.rows import RowReader
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier

_BATCH: Final = 1000
#: So many rows decide whether a key fits: a few edited ones must not make a good key look wrong.
_CANARY_ROWS: Final = 50


@dataclass(frozen=True, kw_only=True)
class KeyFit:
    """Whether a key is that of the chain, by the first rows."""

    good: bool
    message: str
    hint: str | None
    #: How the key is written, where a row has told.
    encoding: str | None = None


def verify_rows(
    lines: Iterable[bytes],
    table: AuditTable,
    *,
    recipe: Recipe,
    key: AuditKey | KeyRing | None,
    anchor: Anchor | None = None,
    anchors: Sequence[Anchor] = (),
    limit: int = 100,
) -> AuditReport:
    """Verify rows of COPY text, without line feeds; see `ChainWalker` for memory and errors."""
    walker = ChainWalker(table, recipe, key, anchor=anchor, anchors=anchors, limit=limit)
    try:
        rest = iter(lines)
        while batch := list(islice(rest, _BATCH)):
            walker.feed(batch)
        return walker.finish()
    finally:
        walker.close()


def verify_live(
    session: Session,
    *,
    recipe: Recipe,
    key: AuditKey | KeyRing | None,
    table: AuditTable | None = None,
    anchor: Anchor | None = None,
    anchors: Sequence[Anchor] = (),
    limit: int = 100,
    emit: Emit | None = None,
) -> AuditReport:
    """Verify the chain in a database: one state of it, in a read-only transaction of its own.

    Without `table` it is looked for; the report is `absent` where there is none, or `broken` if
    an anchor says that there was one. A key that fits none of the first rows is told as a warning
    at once, and links and anchors are checked all the same. Raises what `discover_table` raises,
    and StatementFailed.
    """
    table = table or discover_table(session)
    alone = session.transaction(read_only=True, repeatable_read=True)
    with held(session, table) if table else alone as there:
        return verify_in_transaction(
            session,
            recipe=recipe,
            key=key,
            table=there,
            anchors=(*anchors, *((anchor,) if anchor else ())),
            limit=limit,
            emit=emit,
        )


def verify_in_transaction(
    session: Session,
    *,
    recipe: Recipe,
    key: AuditKey | KeyRing | None,
    table: AuditTable | None = None,
    anchors: Sequence[Anchor] = (),
    limit: int = 100,
    emit: Emit | None = None,
    readers: Readers | None = None,
) -> AuditReport:
    """Verify the chain as the session's open transaction sees it, as a snapshot does it.

    The transaction must be repeatable read, and may be one that has imported a snapshot; the table
    must have been locked before its snapshot was taken, as `held` does. Large tables are read by
    several processes, each of which imports the transaction's snapshot, or by `readers`.
    """
    known = incarnations(session)
    table = table or discover_table(session)
    if table is None:
        findings = compare(anchors, None, recipe, incarnations=known).findings
        return absent(next(iter(findings), None))
    if key is not None and emit is not None:
        fit = try_key(session, recipe=recipe, key=key, table=table)
        if not fit.good:
            emit(Warned(message=fit.message, hint=fit.hint))
    walker = ChainWalker(table, recipe, key, anchors=anchors, limit=limit)
    try:
        with _retired(session, walker, table) as retired:
            walk_table(session, walker, key, readers=readers)
            return walker.finish(
                incarnations=known,
                retirements=retired.retirements if retired else (),
                lagging=session.value("SELECT pg_is_in_recovery()") is True,
            )
    finally:
        walker.close()


@contextmanager
def _retired(
    session: Session, walker: ChainWalker, table: AuditTable
) -> Iterator[RetiredRows | None]:
    """Let the walker take the retired rows first: they are part of the chain."""
    where = retired_table(session, table)
    if where is None:
        yield None
        return
    rows = RetiredRows(session, walker.layout, where)
    for block in rows.blocks():
        walker.feed_canonical(block)
    yield rows


def try_key(
    session: Session, *, recipe: Recipe, key: AuditKey | KeyRing | None, table: AuditTable
) -> KeyFit:
    """Tell whether the key fits, by a few rows: in a moment, not after the whole table."""
    if key is None:
        return KeyFit(
            good=False,
            message=f"`{table}` has a chain, and no key is set to verify it with",
            hint="export ALEXANDRIA_AUDIT__KEY_FILE=…   # the file with the key",
        )
    missing = table.missing(recipe)
    if missing:
        listed = ", ".join(f"`{field}`" for field in missing)
        return KeyFit(
            good=False,
            message=f"`{table}` has no column for {listed}, which `{recipe.name}` covers",
            hint="check `audit.table` and `audit.recipe` in the settings",
        )
    judge, read, tried = Judge(recipe, key), RowReader(table, recipe).read, 0
    where = f"{quote_identifier(table.columns[Role.HMAC])} IS NOT NULL"
    # All of them, before one is looked at: a COPY that is left early is cancelled, and its
    # transaction with it.
    for line in list(live_lines(session, table, where=where, limit=_CANARY_ROWS)):
        row = read(line)
        tried += 1
        if row.hmac is not None and judge.fits(row):
            return KeyFit(
                good=True,
                message=f"the key in {key.source} (written as {judge.encoding}) fits `{table}`",
                hint=None,
                encoding=judge.encoding,
            )
    if not tried:
        return KeyFit(good=True, message=f"`{table}` has no row with an HMAC yet", hint=None)
    return KeyFit(
        good=False,
        message=f"the key in {key.source} fits none of {tried} rows of `{table}`",
        hint="check `audit.key_file` and `audit.key_encoding`, then: alexandria audit verify",
    )
