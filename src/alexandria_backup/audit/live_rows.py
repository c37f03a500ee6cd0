"""Rows of the audit table in a database: as COPY text, or canonical as the server makes them."""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from alexandria_backup.audit.canonical import prefix
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.recipe import HMAC_BYTES, Role
from alexandria_backup.audit.rows import Layout, RowReader
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified
from alexandria_backup.postgres.queries import load

#: The type whose rows are not read straight from one table.
_PARTITIONED: Final = "p"
_TIMES: Final = ("timestamp with time zone", "timestamp without time zone")
#: Types whose cast to text gives what COPY gives.
_AS_TEXT: Final = (
    *("text", "uuid", "json", "jsonb", "bytea"),
    *("smallint", "integer", "bigint", "numeric", "character varying"),
)
#: As in `character varying(80)`.
_MODIFIER: Final = re.compile(r"\(\d+(,\d+)?\)")
#: The first version whose `extract` gives an exact number, and which reads a range of pages
#: without looking at all of them.
PAGE_RANGES: Final = 140_000
#: Pages whose rows come as one value. Values that are compressed on a page grow by 255 at most, so
#: that it has 34 MB at most, and about 150 KB as a rule, which fits a core's cache.
_PAGES_AT_ONCE: Final = 16
#: Behind the last page that a table can have.
_NO_PAGE: Final = 2**32 - 1
_BETWEEN_BYTES: Final = 16
#: The ids of most writers have this length.
_ULID_BYTES: Final = 26
_LINES: Final = 1000


@dataclass(frozen=True, kw_only=True)
class PageRange:
    """Pages of a table, from `first` to before `end`; to the table's end, whatever is last."""

    first: int
    end: int
    last: bool

    @property
    def condition(self) -> str:
        """The SQL condition that a row lies there."""
        lower = f"ctid >= '({self.first},0)'" if self.first else ""
        upper = "" if self.last else f"ctid < '({self.end},0)'"
        return " AND ".join(filter(None, (lower, upper)))


def live_lines(
    session: Session, table: AuditTable, *, where: str = "", limit: int | None = None
) -> Iterator[bytes]:
    """Yield the lines of a table in a database, as it lies on disk; in the columns of its `order`.

    One statement, so one consistent state; `where` is SQL. StatementFailed where the server
    refuses.
    """
    columns = ", ".join(map(quote_identifier, table.order))
    source = quote_qualified(table.schema, table.name)
    if table.kind == _PARTITIONED or where or limit:
        condition = f" WHERE {where}" if where else ""
        cut = f" LIMIT {limit}" if limit else ""
        source = f"(SELECT {columns} FROM {source}{condition}{cut})"  # noqa: S608 - quoted
    else:
        source = f"{source} ({columns})"
    for chunk in session.copy_out(f"COPY {source} TO STDOUT"):
        yield chunk[:-1]


def live_blocks(
    session: Session, layout: Layout, *, where: str = "", pages: PageRange | None = None
) -> Iterator[list[bytes]]:
    """Yield canonical rows of a table in a database, many at a time, as they lie on disk.

    The server puts them together where it can, which costs it a quarter more and this process a
    third of what it would; all rows of some `pages` as one value, where none is so large that it
    lies elsewhere. `where` is SQL, for whoever wants no pages. StatementFailed where the server
    refuses.
    """
    condition = pages.condition if pages else where
    row = _canonical_row(session, layout)
    if row is None:
        yield from _read_here(session, layout, where=condition)
        return
    # Several workers of the server's would give the rows in no order at all.
    settings = {"max_parallel_workers_per_gather": "0"}
    packed = pages is not None and _on_pages_only(session, layout.table)
    if packed:
        # Else each few pages could cost the whole table, as a role may be set.
        settings |= {"enable_tidscan": "on", "enable_seqscan": "off"}
    with ExitStack() as stack:
        for name, value in settings.items():
            stack.enter_context(session.with_setting(name, value))
        if packed and pages is not None:
            yield from _packed(session, row, layout.table, pages)
            return
        source = quote_qualified(layout.table.schema, layout.table.name)
        cut = f" WHERE {condition}" if condition else ""
        yield from session.copy_out_values(f"SELECT {row} FROM {source}{cut}")  # noqa: S608 - quoted


def _packed(
    session: Session, row: str, table: AuditTable, pages: PageRange
) -> Iterator[list[bytes]]:
    """Yield the rows of a few pages at a time, which the server sends as one value.

    What stands between two rows is drawn by lot, when they are there already: nobody can have
    written it into one. If chance has, a row is not what was signed; it never looks good.
    """
    between = secrets.token_bytes(_BETWEEN_BYTES)
    source = quote_qualified(table.schema, table.name)
    last = _NO_PAGE if pages.last else pages.end
    step = _PAGES_AT_ONCE
    query = (
        f"SELECT coalesce((SELECT string_agg({row}, '\\x{between.hex()}'::bytea) "  # noqa: S608 - quoted
        f"FROM {source} WHERE ctid >= format('(%s,0)', page)::tid AND ctid < format('(%s,0)', "
        f"CASE WHEN page + {step} >= {pages.end} THEN {last} ELSE page + {step} END)::tid), "
        rf"''::bytea) FROM generate_series({pages.first}::bigint, "
        f"{max(pages.end - 1, pages.first)}, {step}) AS page"
    )
    for values in session.copy_out_values(query):
        for value in filter(None, values):
            yield value.split(between)


def _on_pages_only(session: Session, table: AuditTable) -> bool:
    """Tell whether each row lies on one page whole, so that a page's rows cannot be large."""
    return session.value(load("audit")["on_pages_only"], (table.schema, table.name)) is True


def _read_here(session: Session, layout: Layout, *, where: str) -> Iterator[list[bytes]]:
    reader, block = RowReader(layout.table, layout.recipe), []
    for line in live_lines(session, layout.table, where=where):
        block.append(reader.canonical(line))
        if len(block) == _LINES:
            yield block
            block = []
    yield block


def _canonical_row(session: Session, layout: Layout) -> str | None:
    """Return the SQL of a row's value, or None where this server or a type cannot do it."""
    # Lengths are those of the server's encoding, and what is signed is UTF-8.
    if session.value("SHOW server_encoding") != "UTF8":
        return None
    written_hmac = len(layout.recipe.output.write(bytes(HMAC_BYTES)))
    parts = []
    for field in (*layout.fields, Role.PREV_HMAC, Role.HMAC):
        column = layout.table.column(field)
        if column is None:
            parts.append(r"'\x00'::bytea")
            continue
        sql_type = _MODIFIER.sub("", layout.table.types.get(column, ""))
        name = quote_identifier(column)
        if field == Role.CREATED_AT:
            if sql_type not in _TIMES or session.server_version < PAGE_RANGES:
                return None
            parts.append(_time_value(name))
        elif sql_type not in _AS_TEXT:
            return None
        else:
            text = name if sql_type == "text" else f"{name}::text"
            usual = written_hmac if field in {Role.PREV_HMAC, Role.HMAC} else None
            usual = _ULID_BYTES if field == Role.ID else usual
            parts.append(_value(text, usual=usual))
    return _joined(parts)


def _joined(values: Sequence[str]) -> str:
    """Return the SQL of values one behind the other: in pairs, so that little is copied often."""
    if len(values) == 1:
        return values[0]
    half = len(values) // 2
    return f"({_joined(values[:half])} || {_joined(values[half:])})"


def _value(text: str, *, usual: int | None = None) -> str:
    """Return the SQL of a text with its length before it; quicker where it has the usual one."""
    value = (
        rf"coalesce('\x01'::bytea || int4send(octet_length({text})) || textsend({text}), '\x00')"
    )
    if usual is None:
        return value
    return (
        f"CASE WHEN octet_length({text}) = {usual} THEN {_of_length(text, usual)} ELSE {value} END"
    )


def _of_length(text: str, length: int) -> str:
    return rf"'\x{prefix(length).hex()}'::bytea || textsend({text})"


def _time_value(name: str) -> str:
    """Return the SQL of a timestamp in microseconds since the epoch; infinities as they are.

    `extract` computes in decimals, which takes a quarter of the server's time for a row, and
    `date_part` in doubles. Up to 2038 those are exact: there are fewer than 2^51 microseconds, so
    dividing by a million is off by 2^-23 seconds at most, multiplying again by 2^-3 microseconds,
    which is a quarter in all, and the cast rounds it to the right one. From 2002 on all have
    sixteen digits.
    """
    double = f"(date_part('epoch', {name}) * 1000000::float8)::bigint::text"
    exact = f"((extract(epoch FROM {name}) * 1000000)::bigint)::text"
    other = f"(CASE WHEN isfinite({name}) THEN {exact} ELSE {name}::text END)"
    return (
        f"CASE WHEN {name} >= '2002-01-01 00:00:00+00' AND {name} < '2038-01-01 00:00:00+00' "
        f"THEN {_of_length(double, 16)} ELSE {_value(other)} END"
    )
