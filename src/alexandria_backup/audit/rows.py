"""Rows of the audit table, from COPY text: the one reader for databases and archives."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from alexandria_backup.archive.copy_text import fields
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.audit.timestamps import microseconds
from alexandria_backup.errors import ArchiveDamaged
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified

#: The type whose rows are not read straight from one table.
_PARTITIONED: Final = "p"


class AuditRow(NamedTuple):
    """One row; a named tuple, since a frozen dataclass takes a microsecond more to make."""

    id: bytes
    #: Canonical, in the order of the recipe's fields.
    values: list[bytes | None]
    #: As the column holds them.
    hmac: bytes | None
    prev_hmac: bytes | None
    tenant: bytes | None
    created_at: bytes | None


def canonical(role: Role, value: bytes | None) -> bytes | None:
    """Return a value as it enters a message: timestamps in microseconds, all else as it is.

    A `created_at` that is no timestamp stays as it is, and no HMAC will fit it.
    """
    if role is Role.CREATED_AT and value is not None:
        return microseconds(value) or value
    return value


class RowReader:
    """Makes rows of the lines of one table."""

    def __init__(self, table: AuditTable, recipe: Recipe) -> None:
        self._table = table
        self._width = len(table.order)
        place = {role: table.order.index(column) for role, column in table.columns.items()}
        # What the table lacks is read from the NULL that is put behind the last value.
        self._places = [place.get(role, self._width) for role in recipe.fields]
        self._id, self._hmac = place[Role.ID], place[Role.HMAC]
        self._prev_hmac = place[Role.PREV_HMAC]
        self._tenant = place.get(Role.TENANT_ID, self._width)
        self._created_at = place.get(Role.CREATED_AT, self._width)

    def read(self, line: bytes) -> AuditRow:
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
            at = values[self._created_at] = microseconds(at) or at
        return AuditRow(
            values[self._id] or b"",
            [values[place] for place in self._places],
            values[self._hmac],
            values[self._prev_hmac],
            values[self._tenant],
            at,
        )


def live_lines(session: Session, table: AuditTable) -> Iterator[bytes]:
    """Yield the lines of a table in a database, as it lies on disk; in the columns of its `order`.

    One statement, so one consistent state. StatementFailed where the server refuses.
    """
    columns = ", ".join(map(quote_identifier, table.order))
    where = quote_qualified(table.schema, table.name)
    source = (
        f"(SELECT {columns} FROM {where})"  # noqa: S608 - quoted
        if table.kind == _PARTITIONED
        else f"{where} ({columns})"
    )
    for chunk in session.copy_out(f"COPY {source} TO STDOUT"):
        yield chunk[:-1]
