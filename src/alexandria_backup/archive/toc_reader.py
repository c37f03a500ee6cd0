"""How header and table of contents of an archive are read.

Source of the format: ReadHead and ReadToc in PostgreSQL's pg_backup_archiver.c. The versions 1.12
to 1.16 differ in three fields only: see `raw_toc.py`. Whatever pg_dump cannot have written is
refused.
"""

import re
from datetime import datetime
from typing import Final

from alexandria_backup.archive.encodings import decode
from alexandria_backup.archive.foreign import MAGIC, SEEN_BYTES, not_an_archive
from alexandria_backup.archive.primitives import ByteReader
from alexandria_backup.archive.raw_toc import (
    CUSTOM,
    HAS_ALGORITHM,
    RawEntry,
    RawHeader,
    read_raw_entry,
)
from alexandria_backup.archive.toc import (
    ArchiveHeader,
    Compression,
    Position,
    Section,
    TableOfContents,
    TocEntry,
)
from alexandria_backup.errors import ArchiveDamaged

OLDEST: Final = (1, 12)
NEWEST: Final = (1, 16)
_SHOWN_BYTES: Final = 32
#: An algorithm's code is its place in here.
COMPRESSION_CODES: Final = (Compression.NONE, Compression.GZIP, Compression.LZ4, Compression.ZSTD)


def read_header(source: ByteReader) -> ArchiveHeader:
    """Read the head; ArchiveDamaged where the file is something else or of another version."""
    beginning = source.peek(SEEN_BYTES)
    if not beginning.startswith(MAGIC):
        raise not_an_archive(beginning)
    source.take(len(MAGIC), "the archive's first word")
    major, minor, revision = source.take(3, "the format version")
    if not OLDEST <= (major, minor) <= NEWEST:
        raise ArchiveDamaged(
            f"unsupported version {major}.{minor} of the archive format: "
            f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} can be read",
        )
    _read_sizes(source)
    what = "the time of the dump"
    raw = RawHeader(
        version=(major, minor, revision),
        int_size=source.int_size,
        offset_size=source.offset_size,
        compression=source.byte("the compression algorithm")
        if minor >= HAS_ALGORITHM
        else source.integer("the compression level"),
        created=tuple(source.integer(what) for _ in range(7)),
        database=source.string("the database's name"),
        server_version=source.string("the server's version"),
        dump_version=source.string("the version of `pg_dump`"),
    )
    return ArchiveHeader(
        version=raw.version,
        compression=_compression(raw, source),
        created=_created(raw, source),
        database=_shown(raw.database),
        server_version=_shown(raw.server_version),
        dump_version=_shown(raw.dump_version),
        raw=raw,
    )


def _read_sizes(source: ByteReader) -> None:
    int_size = source.byte("the size of integers")
    offset_size = source.byte("the size of offsets")
    if int_size not in (4, 8) or offset_size not in (4, 8):
        raise source.damaged(f"integers of {int_size} and offsets of {offset_size} bytes")
    source.int_size, source.offset_size = int_size, offset_size
    if source.byte("the archive's format") != CUSTOM:
        raise ArchiveDamaged(
            "the file is the table of contents of a dump in directory or tar format",
            hint="make the archive with `pg_dump --format=custom`",
        )


def _compression(raw: RawHeader, source: ByteReader) -> Compression:
    if raw.version[1] < HAS_ALGORITHM:
        return Compression.GZIP if raw.compression else Compression.NONE
    if raw.compression >= len(COMPRESSION_CODES):
        raise source.damaged(f"there is no compression algorithm {raw.compression}")
    return COMPRESSION_CODES[raw.compression]


def _created(raw: RawHeader, source: ByteReader) -> datetime:
    second, minute, hour, day, month, year, _dst = raw.created
    try:
        # struct tm counts months from 0, years from 1900, and has leap seconds.
        return datetime(year + 1900, month + 1, day, hour, minute, min(second, 59))  # noqa: DTZ001 - the zone is not recorded
    except (ValueError, OverflowError) as exc:
        raise source.damaged("the time of the dump is no time") from exc


def _shown(text: bytes | None) -> str:
    # The head comes before the encoding is known, and is only ever shown.
    return (text or b"").decode("utf-8", "backslashreplace")


_CLIENT_ENCODING: Final = re.compile(rb"SET\s+client_encoding\s*=\s*'([A-Za-z0-9_]+)'\s*;\s*")


def read_toc(source: ByteReader, header: ArchiveHeader) -> TableOfContents:
    """Read the entries; ArchiveDamaged where one of them cannot be what pg_dump wrote."""
    count = source.integer("the number of entries")
    if count < 0:
        raise source.damaged(f"the number of entries cannot be {count}")
    interpreter = _Interpreter(source)
    raw: list[RawEntry] = []
    entries: dict[int, TocEntry] = {}
    for number in range(1, count + 1):
        which = f"entry {number} of {count}"
        raw.append(read_raw_entry(source, header.version[1], which))
        entry = interpreter.entry(raw[-1], which)
        if entry.dump_id in entries:
            raise source.damaged(f"two entries have the number {entry.dump_id}")
        entries[entry.dump_id] = entry
    if interpreter.encoding is None:
        raise source.damaged("no entry names the encoding")
    return TableOfContents(
        entries=tuple(entries.values()), raw=tuple(raw), encoding=interpreter.encoding
    )


class _Interpreter:
    """Understands entry after entry; the first, ENCODING, says how to decode the others."""

    def __init__(self, source: ByteReader) -> None:
        self._source = source
        self.encoding: str | None = None

    def entry(self, raw: RawEntry, which: str) -> TocEntry:
        if raw.dump_id <= 0:
            raise self._source.damaged(f"the number of {which} cannot be {raw.dump_id}")
        description = self._name(raw.description, f"the kind of {which}")
        if description == "ENCODING":
            self._set_encoding(raw.definition)
        entry = TocEntry(
            dump_id=raw.dump_id,
            had_dumper=self._flag(raw.had_dumper, which),
            table_oid=self._number(raw.table_oid, f"the catalogue of {which}"),
            oid=self._number(raw.oid, f"the OID of {which}"),
            tag=self._name(raw.tag, f"the name of {which}"),
            description=description,
            section=self._section(raw.section, which),
            definition=self._text(raw.definition, f"the definition of {which}"),
            drop_statement=self._text(raw.drop_statement, f"the drop statement of {which}"),
            copy_statement=self._text(raw.copy_statement, f"the copy statement of {which}"),
            namespace=self._text(raw.namespace, f"the schema of {which}"),
            tablespace=self._text(raw.tablespace, f"the tablespace of {which}"),
            table_access_method=self._text(
                raw.table_access_method, f"the access method of {which}"
            ),
            relkind=self._relkind(raw.relkind, which),
            owner=self._text(raw.owner, f"the owner of {which}"),
            with_oids=self._with_oids(raw.with_oids, which),
            dependencies=tuple(
                self._number(number, f"a dependency of {which}") for number in raw.dependencies
            ),
            position=(position := self._position(raw.position, which)),
            offset=raw.offset if position is Position.SET else None,
        )
        return self._checked(entry)

    def _text(self, raw: bytes | None, what: str) -> str | None:
        if raw is None:
            return None
        try:
            return decode(raw, self.encoding)
        except UnicodeDecodeError as exc:
            raise self._source.damaged(f"{what} is not valid {self.encoding}") from exc

    def _name(self, raw: bytes | None, what: str) -> str:
        text = self._text(raw, what)
        if text is None:
            raise self._source.damaged(f"{what} is missing")
        return text

    def _number(self, text: bytes | None, what: str) -> int:
        """Understand an unsigned 32-bit number that is written as decimal text."""
        # Longer text is refused before `int` sees it: it limits the digits itself.
        if text is None or len(text) > 10 or not text.isdigit() or int(text) > 0xFFFFFFFF:
            shown = "NULL" if text is None else f"`{_shown(text[:_SHOWN_BYTES])}`"
            raise self._source.damaged(f"{what} is {shown}, not a number")
        return int(text)

    def _flag(self, value: int, which: str) -> bool:
        if value not in (0, 1):
            raise self._source.damaged(f"the data flag of {which} is {value}, not 0 or 1")
        return value == 1

    def _section(self, value: int, which: str) -> Section:
        try:
            return Section(value)
        except ValueError as exc:
            raise self._source.damaged(f"{which} has an unknown section {value}") from exc

    def _relkind(self, value: int, which: str) -> str | None:
        if value == 0:
            return None
        if not 32 < value < 127:
            raise self._source.damaged(f"the relation kind of {which} is {value}, not a letter")
        return chr(value)

    def _with_oids(self, text: bytes | None, which: str) -> bool:
        if text not in (b"true", b"false"):
            raise self._source.damaged(f"the OIDs flag of {which} is neither `true` nor `false`")
        return text == b"true"

    def _position(self, flag: int, which: str) -> Position:
        try:
            return Position(flag)
        except ValueError as exc:
            raise self._source.damaged(f"{which} has an unknown position flag {flag}") from exc

    def _set_encoding(self, definition: bytes | None) -> None:
        match = _CLIENT_ENCODING.fullmatch(definition or b"")
        if match is None:
            raise self._source.damaged("the entry ENCODING does not name an encoding")
        self.encoding = match[1].decode("ascii")

    def _checked(self, entry: TocEntry) -> TocEntry:
        if entry.had_dumper and entry.position is Position.NO_DATA:
            # pg_restore takes it at its word and restores an empty table, with exit code 0.
            raise self._source.damaged(
                f"{entry.description} `{entry.tag}` should have data and is marked as having none"
            )
        if entry.description == "TABLE DATA" and not entry.had_dumper:
            raise self._source.damaged(f"TABLE DATA `{entry.tag}` is marked as having no data")
        return entry
