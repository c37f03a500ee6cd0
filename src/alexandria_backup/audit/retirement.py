"""Rows that were retired: moved to a table of their own, with a record of it in the chain itself.

Retired rows stay part of the chain: a verification reads them, then the live ones. What is wrong
with them is known, and no fault any more, as far as the record covers exactly these rows: the
record is a row of the chain, so nobody without the key can make one.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.finding import Code, Finding
from alexandria_backup.audit.live_rows import live_blocks
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.rows import Layout
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import (
    quote_identifier,
    quote_literal,
    quote_qualified,
)
from alexandria_backup.postgres.queries import load

#: What the name of the table of retired rows ends with.
SUFFIX: Final = "_retired"
#: What the row that records a retirement says.
ACTION: Final = "audit.retired"
#: The column of retired rows that names their capture.
CAPTURE_COLUMN: Final = "capture_sha256"
#: What a retirement can explain.
_EXPLAINED: Final = frozenset(
    {
        Code.ROW_HMAC_MISMATCH,
        Code.BRANCH,
        Code.BRANCH_VALID_HMAC,
        Code.DUPLICATE_LINK,
        Code.HMAC_STRIPPED,
        Code.LINK_BROKEN,
    }
)


@dataclass(frozen=True, kw_only=True)
class Retirement:
    """Rows that were retired together."""

    #: SHA-256 of the capture that was made of them.
    capture: str
    #: The id of the row of the chain that records it.
    entry: str
    rows: int
    ids: frozenset[str]
    #: Whether the record is there and covers exactly these rows.
    recorded: bool
    #: The chain whose first rows are among them, how many, and the HMAC of the last of these.
    head: tuple[str, int, str] | None


class RowSet:
    """A digest over rows in canonical form, whatever their order; and their ids."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self.ids: set[str] = set()

    def add(self, row: bytes, ident: str) -> None:
        """Add a row."""
        self._digests.append(sha256(row).digest())
        self.ids.add(ident)

    def __len__(self) -> int:
        return len(self._digests)

    def hexdigest(self) -> str:
        """Return the digest."""
        return sha256(b"".join(sorted(self._digests))).hexdigest()


def retirement_of(
    *, capture: str, entry: str, record: bytes | None, rows: RowSet, cloned: bool = False
) -> Retirement:
    """Return a retirement by what the row of the chain says (`record`, JSON) and by its rows.

    `cloned` says that an id is live as well: then nobody can say which of the two is meant.
    """
    ids = frozenset(rows.ids)
    made = Retirement(
        capture=capture, entry=entry, rows=len(rows), ids=ids, recorded=False, head=None
    )
    try:
        told = json.loads(record or b"{}")
    except ValueError:
        return made
    if not isinstance(told, dict) or told.get("capture") != capture or entry in ids or cloned:
        return made
    whole = told.get("digest") == rows.hexdigest()
    head = told.get("head") if whole or not len(rows) else None
    return replace(made, recorded=whole, head=(head[0], head[1], head[2]) if head else None)


def retired_table(session: Session, table: AuditTable) -> AuditTable | None:
    """Return where the retired rows of a table are; None where none ever was."""
    name = f"{table.name}{SUFFIX}"
    there = session.value(
        "SELECT to_regclass(%s) IS NOT NULL", (quote_qualified(table.schema, name),)
    )
    if not there:
        return None
    own = {role: column for role, column in table.columns.items() if role in set(Role)}
    return discover_table(session, named=(table.schema, name), own=own)


class RetiredRows:
    """The retired rows of one table, in the session's transaction."""

    def __init__(self, session: Session, layout: Layout, retired: AuditTable) -> None:
        self._session = session
        self._live = layout
        self._layout = Layout(retired, layout.recipe)
        self._found: list[Retirement] = []

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the rows, canonical; afterwards `retirements` says what they are."""
        for capture, entry in self._groups():
            rows = RowSet()
            where = f"{CAPTURE_COLUMN} = {quote_literal(capture)}"
            for block in live_blocks(self._session, self._layout, where=where):
                for row in block:
                    rows.add(row, self._layout.id_of(row).decode())
                yield block
            self._found.append(
                retirement_of(
                    capture=capture,
                    entry=entry,
                    record=self._record(entry),
                    rows=rows,
                    cloned=self._cloned(),
                )
            )

    @property
    def retirements(self) -> tuple[Retirement, ...]:
        """What was retired, in the order in which it was."""
        return tuple(self._found)

    def _groups(self) -> list[tuple[str, str]]:
        # Also of rows that are gone from there, of which the record alone is left.
        if not self._session.value(load("audit")["has_retirements"]):
            return []
        where = f"{self._live.table.schema}.{self._live.table.name}"
        return [
            (capture, entry)
            for capture, entry in self._session.all(load("audit")["retirements"], (where,))
        ]

    def _record(self, entry: str) -> bytes | None:
        """Return what the row of the chain says; None where there is no such row."""
        table = self._live.table
        ident, action, said = (
            quote_identifier(table.columns.get(role, role))
            for role in (Role.ID, Role.ACTION, Role.METADATA)
        )
        where = (
            f"{ident}::text = {quote_literal(entry)} AND {action}::text = {quote_literal(ACTION)}"
        )
        found = self._session.value(
            f"SELECT {said}::text FROM {quote_qualified(table.schema, table.name)} WHERE {where}"  # noqa: S608
        )
        return None if found is None else str(found).encode()

    def _cloned(self) -> bool:
        """Tell whether an id is there twice: then nobody can say which of the two is meant."""
        live, retired = (
            quote_qualified(layout.table.schema, layout.table.name)
            for layout in (self._live, self._layout)
        )
        ident = quote_identifier(self._live.table.columns[Role.ID])
        return bool(
            self._session.value(
                f"SELECT EXISTS (SELECT FROM {live} AS l JOIN {retired} AS r "  # noqa: S608 - quoted
                f"ON l.{ident} = r.{ident})"
            )
        )


def excused(finding: Finding, retirements: Sequence[Retirement]) -> bool:
    """Tell whether a retirement explains a finding."""
    return finding.code in _EXPLAINED and any(
        one.recorded and finding.id in one.ids for one in retirements
    )


def gone_heads(retirements: Sequence[Retirement], chain: str, recipe: Recipe) -> dict[bytes, int]:
    """Return the HMACs of retired rows that a chain may begin behind, and their positions."""
    heads = [one.head for one in retirements if one.head is not None and one.head[0] == chain]
    read = [(recipe.read(text.encode()), count) for _, count, text in heads]
    return {sealed: count for sealed, count in read if sealed is not None}
