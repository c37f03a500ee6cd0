"""The rows of a range of a table's pages: as COPY text, or only counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import (
    quote_identifier,
    quote_literal,
    quote_qualified,
)
from alexandria_backup.postgres.queries import load

#: Ranges that one statement counts.
_RANGES_PER_STATEMENT = 64
#: The low half of a transaction id with its epoch: what a row carries.
_XID_MASK = 0xFFFF_FFFF


@dataclass(frozen=True, kw_only=True)
class PageRange:
    """Pages of a table's heap: from `first` to before `end`; `end` None means all there are."""

    first: int
    end: int | None

    @property
    def condition(self) -> str:
        """The range as SQL; empty where it is the whole table."""
        if self.end is None:
            return ""
        return f" WHERE ctid >= '({self.first},0)' AND ctid < '({self.end},0)'"


@dataclass(frozen=True, kw_only=True)
class RangeCount:
    """What stands in a page range."""

    rows: int
    #: Rows whose inserting transaction had not ended when the reference was taken, or began later.
    young: int


def copy_range_statement(
    schema: str, name: str, columns: Sequence[str], pages: PageRange, *, encoding: str
) -> str:
    """Return what sends the rows of a range in the order of their positions.

    Of this table only, not of those that inherit from it, as pg_dump writes it.
    """
    listed = ", ".join(quote_identifier(column) for column in columns)
    return (
        f"COPY (SELECT {listed} FROM ONLY {quote_qualified(schema, name)}{pages.condition}) "  # noqa: S608 - quoted
        f"TO STDOUT WITH (ENCODING {quote_literal(encoding)})"
    )


def count_ranges(
    session: Session, schema: str, name: str, ranges: Sequence[PageRange], *, since_xmin: int
) -> list[RangeCount]:
    """Count the rows of each range, and those that a snapshot with this xmin cannot have seen.

    To be asked in a transaction that has adopted the snapshot. Every transaction that the earlier
    snapshot did not see has an id of at least its xmin, subtransactions and prepared ones too. A
    negative age is that of a row older than half the circle of ids; frozen rows keep their id.
    """
    age = session.value(load("snapshot")["age"], [str(since_xmin & _XID_MASK)])
    if age < 0:
        # The ids have gone round: nothing can be told, so every row counts as young.
        return [RangeCount(rows=0, young=1) for _ in ranges]
    counts: list[RangeCount] = []
    for start in range(0, len(ranges), _RANGES_PER_STATEMENT):
        chunk = ranges[start : start + _RANGES_PER_STATEMENT]
        statement = " UNION ALL ".join(
            # The comparison that fails for old rows stands first: `age` is what costs here.
            f"SELECT {number}, count(*), "  # noqa: S608 - quoted
            f"count(*) FILTER (WHERE age(xmin) <= {age} AND age(xmin) >= 0) "
            f"FROM ONLY {quote_qualified(schema, name)}{pages.condition}"
            for number, pages in enumerate(chunk)
        )
        found = sorted(session.all(statement))
        counts += [RangeCount(rows=rows, young=young) for _, rows, young in found]
    return counts
