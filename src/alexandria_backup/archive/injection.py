"""Entries for tables whose rows do not come from pg_dump, put where pg_dump would have put them.

`pg_dump --exclude-table-data` leaves no trace of a table's data in the archive. What an entry must
say, so that the stock pg_restore treats it as one of pg_dump's own, also with `--jobs`:

- its number is new, also among the numbers that entries only depend on: those stand for objects
  that are not in the archive, and two of one number make parallel restores go wrong in silence;
- its first dependency is its TABLE: pg_restore looks there for the table that it fills, and lets
  indexes and constraints wait for the data;
- it stands in the run of TABLE DATA, ordered by schema and name as bytes.
"""

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from alexandria_backup.archive.encodings import encode
from alexandria_backup.archive.raw_toc import RawEntry
from alexandria_backup.archive.toc import Position, Section
from alexandria_backup.errors import ArchiveDamaged

_PG_CLASS: Final = b"1259"


class FrameRows(Protocol):
    """Whole rows of a table as COPY text in the archive's encoding; each ends with a line feed."""

    def text(self) -> Iterator[bytes]:
        """Yield the text in pieces that may be cut anywhere."""
        ...

    def zstd(self) -> Iterator[bytes]:
        """Yield the same text as whole zstd frames, one at a time."""
        ...


@dataclass(frozen=True, kw_only=True)
class FramedTable:
    """A table that the base archive defines, and whose rows come from elsewhere."""

    #: Of the table in pg_class when the base archive was made.
    oid: int
    #: As pg_dump writes it: `COPY ns."Tab" (a, "B c") FROM stdin;` and a line feed.
    copy_statement: str
    #: In the order of the rows; asked for once.
    frames: Sequence[FrameRows]


def injected(
    entries: Sequence[RawEntry], tables: Sequence[FramedTable], *, encoding: str
) -> tuple[list[RawEntry], dict[int, FramedTable]]:
    """Return all entries in their new order, and the framed tables by their entries' numbers.

    Raises ArchiveDamaged where a table is not defined in the archive, or has data there already.
    """
    defined = {
        entry.oid: entry
        for entry in entries
        if entry.description == b"TABLE" and entry.table_oid == _PG_CLASS
    }
    filled = {entry.oid for entry in entries if entry.description == b"TABLE DATA"}
    last = max((n for entry in entries for n in _numbers(entry)), default=0)
    added: list[RawEntry] = []
    by_number: dict[int, FramedTable] = {}
    for number, table in enumerate(tables, start=last + 1):
        of_table = _defining_entry(table, defined, filled)
        statement = encode(table.copy_statement, encoding)
        insort(added, _data_entry(number, of_table, statement), key=_order)
        by_number[number] = table
    return _merged(entries, added), by_number


def places_by_oid(entries: Sequence[RawEntry]) -> dict[int, int]:
    """Return the order in which the data of tables are written: OID to place.

    Whoever fetches the rows ahead of their use needs to know it.
    """
    defined = (e for e in entries if e.description == b"TABLE" and e.table_oid == _PG_CLASS)
    return {int(e.oid or 0): place for place, e in enumerate(sorted(defined, key=_order))}


def _numbers(entry: RawEntry) -> Iterator[int]:
    yield entry.dump_id
    yield from map(int, entry.dependencies)


def _defining_entry(
    table: FramedTable, defined: Mapping[bytes | None, RawEntry], filled: set[bytes | None]
) -> RawEntry:
    oid = str(table.oid).encode("ascii")
    entry = defined.get(oid)
    if entry is None:
        raise ArchiveDamaged(f"the base archive does not define the table of OID {table.oid}")
    if oid in filled:
        raise ArchiveDamaged(f"the base archive has data of the table of OID {table.oid} already")
    # A second table of this OID is one too many.
    filled.add(oid)
    return entry


def _data_entry(number: int, of_table: RawEntry, copy_statement: bytes) -> RawEntry:
    return replace(
        of_table,
        dump_id=number,
        had_dumper=1,
        table_oid=b"0",
        description=b"TABLE DATA",
        section=Section.DATA,
        definition=None,
        drop_statement=None,
        copy_statement=copy_statement,
        tablespace=None,
        table_access_method=None,
        relkind=0,
        dependencies=(str(of_table.dump_id).encode("ascii"),),
        position=Position.NOT_SET,
        offset=0,
    )


def _order(entry: RawEntry) -> tuple[bytes, bytes]:
    return entry.namespace or b"", entry.tag or b""


def _merged(entries: Sequence[RawEntry], added: Sequence[RawEntry]) -> list[RawEntry]:
    merged: list[RawEntry] = []
    waiting = list(reversed(added))
    last = max(
        (at for at, entry in enumerate(entries) if entry.description == b"TABLE DATA"), default=None
    )
    for at, entry in enumerate(entries):
        if last is None:
            # The data of tables come first in their section.
            while waiting and entry.section in (Section.DATA, Section.POST_DATA):
                merged.append(waiting.pop())
        elif entry.description == b"TABLE DATA":
            while waiting and _order(waiting[-1]) < _order(entry):
                merged.append(waiting.pop())
        merged.append(entry)
        if at == last:
            merged.extend(reversed(waiting))
            waiting.clear()
    return merged + waiting[::-1]
