"""The audit chain in a stream of tables: an archive, or a snapshot put together as one.

Tables come in any order, each with the names of its columns and its rows as COPY text. Which of
them hold the chain is known by their names; the rows that were retired belong to it, and so do the
records of that and of restores, which stand in a schema of this program's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from alexandria_backup.archive.copy_text import fields
from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.discovery import AuditTable, discover_in_columns
from alexandria_backup.audit.incarnation import incarnations_of
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.audit.retirement import (
    ACTION,
    CAPTURE_COLUMN,
    SUFFIX,
    RowSet,
    retirement_of,
)
from alexandria_backup.audit.rows import Layout, RowReader
from alexandria_backup.errors import AuditUnverified
from alexandria_backup.postgres.marker_rows import SCHEMA

#: Takes rows of COPY text, some at a time, each without its line feed.
Sink = Callable[[Sequence[bytes]], None]
_Values = list[bytes | None]


class StreamedChain:
    """Finds the chain in a stream of tables, and verifies it at the end.

    Ask `sink` for each table, feed it all rows, and call `finish`; or `close`, if nobody wants to
    know any more. Memory is that of `ChainWalker`, and the ids of retired rows.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        key: AuditKey | KeyRing | None,
        table: tuple[str, str] | None = None,
        anchors: Sequence[Anchor] = (),
        limit: int = 100,
    ) -> None:
        self._recipe = recipe
        self._key = key
        self._named = table
        self._anchors = anchors
        self._limit = limit
        self._walkers: dict[str, ChainWalker] = {}
        #: Rows that were retired, by the table that they came from, capture by capture.
        self._retired: dict[str, _Retired] = {}
        self._records: dict[str, dict[str, bytes | None]] = {}
        self._own: dict[str, list[Mapping[str, str]]] = {"incarnations": [], "retirements": []}

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that could hold the chain."""
        return tuple(sorted(self._walkers))

    def sink(self, schema: str, name: str, columns: Sequence[str]) -> Sink | None:
        """Return what takes the rows of a table; None where they do not matter."""
        if schema == SCHEMA and name in self._own:
            return _Mappings(columns, self._own[name])
        table = self._audit_table(schema, name, columns)
        if table is not None:
            walker = self._walker(table)
            return _Live(walker, table, self._records)
        origin = self._audit_table(schema, name.removesuffix(SUFFIX), columns)
        if not name.endswith(SUFFIX) or origin is None or CAPTURE_COLUMN not in columns:
            return None
        retired = self._retired[str(origin)] = _Retired(origin, self._recipe)
        return retired

    def finish(self) -> AuditReport | None:
        """Return the report, None where there is no chain. To be called once.

        AuditUnverified where several tables could hold it; StorageError as `ChainWalker`.
        """
        try:
            if len(self._walkers) > 1:
                raise AuditUnverified(
                    "several tables could hold the audit chain: "
                    + ", ".join(f"`{table}`" for table in self.tables),
                    hint="set `[audit] table`",
                )
            return next((self._report(*found) for found in self._walkers.items()), None)
        finally:
            self.close()

    def close(self) -> None:
        """Forget the rows."""
        for walker in self._walkers.values():
            walker.close()

    def _report(self, name: str, walker: ChainWalker) -> AuditReport:
        told = [one for one in self._own["retirements"] if one["audit_table"] == name]
        retired = self._retired.get(name)
        for rows in retired.canonical() if retired else ():
            walker.feed_canonical(rows)
        none = RowSet()
        return walker.finish(
            incarnations=incarnations_of(self._own["incarnations"]),
            retirements=[
                retirement_of(
                    capture=one["capture_sha256"],
                    entry=one["entry"],
                    record=(self._records.get(one["entry"]) or {}).get("metadata"),
                    rows=retired.by_capture.get(one["capture_sha256"], none) if retired else none,
                )
                for one in told
            ],
        )

    def _walker(self, table: AuditTable) -> ChainWalker:
        walker = self._walkers[str(table)] = ChainWalker(
            table, self._recipe, self._key, anchors=self._anchors, limit=self._limit
        )
        return walker

    def _audit_table(self, schema: str, name: str, columns: Sequence[str]) -> AuditTable | None:
        if self._named is not None and self._named != (schema, name):
            return None
        return discover_in_columns(
            schema, name, columns, named=self._named is not None, own=self._recipe.columns
        )


class _Live:
    """The rows of the audit table; those that record a retirement are remembered."""

    _MARK: Final = ACTION.encode()

    def __init__(
        self, walker: ChainWalker, table: AuditTable, records: dict[str, dict[str, bytes | None]]
    ) -> None:
        self._walker = walker
        self._records = records
        place = {column: number for number, column in enumerate(table.order)}
        self._places = {
            role: place[column]
            for role in (Role.ID, Role.ACTION, Role.METADATA)
            for column in [table.columns.get(role, "")]
            if column in place
        }

    def __call__(self, rows: Sequence[bytes]) -> None:
        self._walker.feed(rows)
        for row in rows:
            if self._MARK in row:
                self._remember(fields(row))

    def _remember(self, values: _Values) -> None:
        found = {str(role): values[place] for role, place in self._places.items()}
        if found.get("action") == self._MARK:
            self._records[(found.get("id") or b"").decode()] = found


class _Retired:
    """The rows of a table of retired ones: kept until the live ones have come.

    They are few, and they must come in one batch with their capture.
    """

    def __init__(self, table: AuditTable, recipe: Recipe) -> None:
        self._reader = RowReader(table, recipe)
        self._layout = Layout(table, recipe)
        self._capture = table.order.index(CAPTURE_COLUMN)
        self._rows: list[list[bytes]] = []
        self.by_capture: dict[str, RowSet] = {}

    def __call__(self, rows: Sequence[bytes]) -> None:
        canonical = list(map(self._reader.canonical, rows))
        self._rows.append(canonical)
        for line, row in zip(rows, canonical, strict=True):
            capture = (fields(line)[self._capture] or b"").decode()
            group = self.by_capture.setdefault(capture, RowSet())
            group.add(row, self._layout.id_of(row).decode())

    def canonical(self) -> Iterator[list[bytes]]:
        """Yield the rows."""
        return iter(self._rows)


class _Mappings:
    """The rows of a small table, by the names of its columns; NULL is left out."""

    def __init__(self, columns: Sequence[str], found: list[Mapping[str, str]]) -> None:
        self._columns = columns
        self._found = found

    def __call__(self, rows: Sequence[bytes]) -> None:
        for row in rows:
            values = zip(self._columns, fields(row), strict=True)
            self._found.append(
                MappingProxyType(
                    {name: value.decode() for name, value in values if value is not None}
                )
            )
