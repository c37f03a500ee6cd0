"""Rows of the audit table in canonical form.

A canonical row is the values of a `Layout`, then `prev_hmac` and `hmac` as the columns hold them,
all length-prefixed. It is what a row's digest is taken over, and, under a plain recipe, its
beginning is what was signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from alexandria_backup.archive.copy_text import fields
from alexandria_backup.audit.canonical import length_prefixed, separated
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.timestamps import microseconds
from alexandria_backup.errors import ArchiveDamaged
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal

#: Roles that are read though a recipe may not cover them: rows are named and placed by them.
_NEEDED: Final = (Role.ID, Role.TENANT_ID, Role.CREATED_AT)
#: What stands before a text of sixteen bytes.
_SIXTEEN: Final = b"\1\0\0\0\x10"


class AuditRow(NamedTuple):
    """One row; a named tuple, since a frozen dataclass takes a microsecond more to make."""

    id: bytes
    #: Canonical, in the order of the recipe's fields.
    values: list[bytes | None]
    #: As the column holds them.
    hmac: bytes | None
    prev_hmac: bytes | None
    tenant: bytes | None
    #: In microseconds since the epoch; what is no timestamp stays as it is.
    created_at: bytes | None


def time_of(row: AuditRow) -> int | None:
    """Return when a row says that it was made, in microseconds since the epoch."""
    text = row.created_at or b""
    return int(text) if text.removeprefix(b"-").isdigit() else None


@dataclass(frozen=True)
class Layout:
    """What is read of each row of a table under a recipe, in which order."""

    table: AuditTable
    recipe: Recipe

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The covered fields, then what must be known besides; without the HMACs."""
        covered = self.recipe.fields
        more = (r for r in _NEEDED if r not in covered and r in self.table.columns)
        return (*covered, *more)

    @cached_property
    def plain(self) -> bool:
        """Whether a canonical row begins with exactly what was signed."""
        return self.recipe.plain and self.fields == self.recipe.fields

    @cached_property
    def tail(self) -> int:
        """Bytes of `prev_hmac` and `hmac` at the end of a row that has both."""
        return 2 * len(length_prefixed([self.recipe.output.write(bytes(32))]))

    @cached_property
    def id_first(self) -> bool:
        """Whether the id stands in front."""
        return self.fields[0] == Role.ID

    def parse(self, row: bytes) -> AuditRow:
        """Take a canonical row apart."""
        values = separated(row, len(self.fields) + 2)
        place = self._places
        return AuditRow(
            (values[place[Role.ID]] if Role.ID in place else None) or b"",
            values[: len(self.recipe.fields)],
            values[-1],
            values[-2],
            values[place[Role.TENANT_ID]] if Role.TENANT_ID in place else None,
            values[place[Role.CREATED_AT]] if Role.CREATED_AT in place else None,
        )

    def id_of(self, row: bytes) -> bytes:
        """Return the id of a canonical row."""
        if self.id_first and row[:4] == b"\1\0\0\0":
            return row[5 : 5 + row[4]]
        return self.parse(row).id

    def ids_of(self, rows: Sequence[bytes]) -> list[bytes]:
        """Return the ids of canonical rows; quickly where all are of one length, as ULIDs are."""
        if self.id_first and len(heads := {row[:5] for row in rows}) == 1:
            (head,) = heads
            if head[:4] == b"\1\0\0\0":
                end = len(head) + head[4]
                return [row[5:end] for row in rows]
        return list(map(self.id_of, rows))

    def made_within(self, row: bytes, window: tuple[int, int]) -> bool:
        """Tell whether a canonical row says that it was made in a time, in microseconds."""
        end = len(row) - self.tail
        if (
            self.fields[-1] == Role.CREATED_AT
            and row[end - 21 : end - 16] == _SIXTEEN
            and row[end - 16 : end].isdigit()
        ):
            # As all are between the years 2001 and 2286; the rest is taken apart.
            at: int | None = int(row[end - 16 : end])
        else:
            at = time_of(self.parse(row))
        return at is not None and window[0] <= at < window[1]

    def tenant_of(self, row: bytes) -> bytes | None:
        """Return the tenant of a canonical row."""
        return self.parse(row).tenant

    @cached_property
    def _places(self) -> dict[str, int]:
        return {field: place for place, field in enumerate(self.fields)}


class RowReader:
    """Makes canonical rows of the lines of one table."""

    def __init__(self, table: AuditTable, recipe: Recipe) -> None:
        self.layout = Layout(table, recipe)
        self._table = table
        self._width = len(table.order)
        place = {column: number for number, column in enumerate(table.order)}
        # What the table lacks is read from the NULL that is put behind the last value.
        self._places = [
            place.get(table.column(field) or "", self._width)
            for field in (*self.layout.fields, Role.PREV_HMAC, Role.HMAC)
        ]
        self._created_at = place.get(table.columns.get(Role.CREATED_AT, ""), self._width)

    def canonical(self, line: bytes) -> bytes:
        """Read a line of COPY text without its line feed.

        Raises ArchiveDamaged where it has more or fewer values than the table has columns.
        """
        values = fields(line)
        if len(values) != self._width:
            raise ArchiveDamaged(
                f"a row of `{self._table}` has {len(values)} values "
                f"and the table {self._width} columns"
            )
        values.append(None)
        at = values[self._created_at]
        if at is not None:
            values[self._created_at] = microseconds(at) or at
        return length_prefixed([values[place] for place in self._places])

    def read(self, line: bytes) -> AuditRow:
        """Read a line as a row; raises ArchiveDamaged as `canonical` does."""
        return self.layout.parse(self.canonical(line))


def row_named(table: AuditTable, ident: str) -> str:
    """Return the SQL condition that a row has this id."""
    return f"{quote_identifier(table.columns[Role.ID])}::text = {quote_literal(ident)}"
