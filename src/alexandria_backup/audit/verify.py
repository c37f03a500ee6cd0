"""Verification in one call: rows at hand, or the live table inside one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.anchoring import compare
from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.report import AuditReport, absent
from alexandria_backup.audit.rows import RowReader, live_lines
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified

_BATCH = 1000
#: So many rows decide whether a key fits: a few edited ones must not make a good key look wrong.
_CANARY_ROWS = 50


@dataclass(frozen=True, kw_only=True)
class KeyFit:
    """Whether a key is that of the chain, by the first rows."""

    good: bool
    message: str
    hint: str | None


def verify_rows(
    lines: Iterable[bytes],
    table: AuditTable,
    *,
    recipe: Recipe,
    key: AuditKey | None,
    anchor: Anchor | None = None,
    limit: int = 100,
) -> AuditReport:
    """Verify rows of COPY text, without line feeds; see `ChainWalker` for memory and errors."""
    walker = ChainWalker(table, recipe, key, anchor=anchor, limit=limit)
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
    key: AuditKey | None,
    table: AuditTable | None = None,
    anchor: Anchor | None = None,
    limit: int = 100,
) -> AuditReport:
    """Verify the chain in a database: one state of it, in a read-only transaction of its own.

    Without `table` it is looked for; the report is `absent` where there is none, or `broken` if
    an anchor says that there was one. Raises what `discover_table` raises, and StatementFailed.
    """
    with session.transaction(read_only=True, repeatable_read=True):
        table = table or discover_table(session)
        if table is None:
            return absent(None if anchor is None else compare(anchor, None, None, recipe))
        lines = live_lines(session, table)
        return verify_rows(lines, table, recipe=recipe, key=key, anchor=anchor, limit=limit)


def try_key(session: Session, *, recipe: Recipe, key: AuditKey | None, table: AuditTable) -> KeyFit:
    """Tell whether the key fits, by a few rows: in a moment, not after the whole table."""
    if key is None:
        return KeyFit(
            good=False,
            message=f"`{table}` has a chain, and no key is set to verify it with",
            hint="export ALEXANDRIA_AUDIT__KEY_FILE=…   # the file with the key",
        )
    missing = table.missing(recipe)
    if missing:
        listed = ", ".join(f"`{role}`" for role in missing)
        return KeyFit(
            good=False,
            message=f"`{table}` has no column for {listed}, which `{recipe.name}` covers",
            hint="check `audit.table` and `audit.recipe` in the settings",
        )
    judge, read, tried = Judge(recipe, key), RowReader(table, recipe).read, 0
    for row in map(read, _first_lines(session, table)):
        previous = recipe.read(row.prev_hmac or b"")
        message = recipe.message(row.values, recipe.genesis if previous is None else previous)
        tried += 1
        if row.hmac is not None and judge.compute(message, row.hmac) is not None:
            return KeyFit(
                good=True,
                message=f"the key in {key.source} (written as {judge.encoding}) fits `{table}`",
                hint=None,
            )
    if not tried:
        return KeyFit(good=True, message=f"`{table}` has no row with an HMAC yet", hint=None)
    return KeyFit(
        good=False,
        message=f"the key in {key.source} fits none of {tried} rows of `{table}`",
        hint="check `audit.key_file` and `audit.key_encoding`, then: alexandria audit verify",
    )


def _first_lines(session: Session, table: AuditTable) -> list[bytes]:
    """Return a few rows that carry an HMAC, in the columns of the table's `order`."""
    columns = ", ".join(map(quote_identifier, table.order))
    source = quote_qualified(table.schema, table.name)
    sealed = quote_identifier(table.columns[Role.HMAC])
    statement = f"SELECT {columns} FROM {source} WHERE {sealed} IS NOT NULL LIMIT {_CANARY_ROWS}"  # noqa: S608 - quoted
    return [chunk[:-1] for chunk in session.copy_out(f"COPY ({statement}) TO STDOUT")]
