"""How header and table of contents of an archive are read.

Source of the format: ReadHead and ReadToc in PostgreSQL's pg_backup_archiver.c. The versions 1.12
to 1.16 differ in three fields only. Whatever pg_dump cannot have written is refused.
"""

import re
from datetime import datetime
from typing import Final

from alexandria_backup.archive.encodings import decode
from alexandria_backup.archive.foreign import MAGIC, SEEN_BYTES, not_an_archive
from alexandria_backup.archive.primitives import ByteReader
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
_CUSTOM: Final = 1
_COMPRESSION_CODES: Final = (Compression.NONE, Compression.GZIP, Compression.LZ4, Compression.ZSTD)


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
    return ArchiveHeader(
        version=(major, minor, revision),
        int_size=source.int_size,
        offset_size=source.offset_size,
        compression=_read_compression(source, minor),
        created=_read_created(source),
        database=_header_text(source, "the database's name"),
        server_version=_header_text(source, "the server's version"),
        dump_version=_header_text(source, "the version of `pg_dump`"),
    )


def _read_sizes(source: ByteReader) -> None:
    int_size = source.byte("the size of integers")
    offset_size = source.byte("the size of offsets")
    if int_size not in (4, 8) or offset_size not in (4, 8):
        raise source.damaged(f"integers of {int_size} and offsets of {offset_size} bytes")
    source.int_size, source.offset_size = int_size, offset_size
    written = source.byte("the archive's format")
    if written != _CUSTOM:
        raise ArchiveDamaged(
            "the file is the table of contents of a dump in directory or tar format",
            hint="make the archive with `pg_dump --format=custom`",
        )


def _read_compression(source: ByteReader, minor: int) -> Compression:
    if minor < 15:
        level = source.integer("the compression level")
        return Compression.GZIP if level else Compression.NONE
    code = source.byte("the compression algorithm")
    if code >= len(_COMPRESSION_CODES):
        raise source.damaged(f"there is no compression algorithm {code}")
    return _COMPRESSION_CODES[code]


def _read_created(source: ByteReader) -> datetime:
    second, minute, hour, day, month, year, _dst = (
        source.integer("the time of the dump") for _ in range(7)
    )
    try:
        # struct tm counts months from 0, years from 1900, and has leap seconds.
        return datetime(year + 1900, month + 1, day, hour, minute, min(second, 59))  # noqa: DTZ001 - the zone is not recorded
    except (ValueError, OverflowError) as exc:
        raise source.damaged("the time of the dump is no time") from exc


def _header_text(source: ByteReader, what: str) -> str:
    # The head comes before the encoding is known, and is only ever shown.
    return (source.string(what) or b"").decode("utf-8", "backslashreplace")


_CLIENT_ENCODING: Final = re.compile(r"SET\s+client_encoding\s*=\s*'([A-Za-z0-9_]+)'\s*;\s*")


def read_toc(source: ByteReader, header: ArchiveHeader) -> TableOfContents:
    """Read the entries; ArchiveDamaged where one of them cannot be what pg_dump wrote."""
    count = source.integer("the number of entries")
    if count < 0:
        raise source.damaged(f"the number of entries cannot be {count}")
    reader = _EntryReader(source, header.version[1])
    entries: dict[int, TocEntry] = {}
    for number in range(1, count + 1):
        entry = reader.read(f"entry {number} of {count}")
        if entry.dump_id in entries:
            raise source.damaged(f"two entries have the number {entry.dump_id}")
        entries[entry.dump_id] = entry
    if reader.encoding is None:
        raise source.damaged("no entry names the encoding")
    return TableOfContents(entries=tuple(entries.values()), encoding=reader.encoding)


class _EntryReader:
    """Reads entry after entry; the first, ENCODING, says how to decode the others."""

    def __init__(self, source: ByteReader, minor: int) -> None:
        self._source = source
        self._minor = minor
        self.encoding: str | None = None

    def read(self, which: str) -> TocEntry:
        source = self._source
        dump_id = source.integer(f"the number of {which}")
        if dump_id <= 0:
            raise source.damaged(f"the number of {which} cannot be {dump_id}")
        had_dumper = source.integer(f"the data flag of {which}")
        table_oid = source.number(f"the catalogue of {which}")
        oid = source.number(f"the OID of {which}")
        tag = self._name(f"the name of {which}")
        description = self._name(f"the kind of {which}")
        section = self._section(which)
        definition = self._text(f"the definition of {which}")
        if description == "ENCODING":
            self._set_encoding(definition)
        entry = TocEntry(
            dump_id=dump_id,
            had_dumper=self._flag(had_dumper, which),
            table_oid=table_oid,
            oid=oid,
            tag=tag,
            description=description,
            section=section,
            definition=definition,
            drop_statement=self._text(f"the drop statement of {which}"),
            copy_statement=self._text(f"the copy statement of {which}"),
            namespace=self._text(f"the schema of {which}"),
            tablespace=self._text(f"the tablespace of {which}"),
            table_access_method=self._text(f"the access method of {which}")
            if self._minor >= 14
            else None,
            relkind=self._relkind(which) if self._minor >= 16 else None,
            owner=self._text(f"the owner of {which}"),
            with_oids=self._with_oids(which),
            dependencies=self._dependencies(which),
            position=(position := self._position(which))[0],
            offset=position[1],
        )
        return self._checked(entry)

    def _text(self, what: str) -> str | None:
        raw = self._source.string(what)
        if raw is None:
            return None
        try:
            return decode(raw, self.encoding)
        except UnicodeDecodeError as exc:
            raise self._source.damaged(f"{what} is not valid {self.encoding}") from exc

    def _name(self, what: str) -> str:
        text = self._text(what)
        if text is None:
            raise self._source.damaged(f"{what} is missing")
        return text

    def _flag(self, value: int, which: str) -> bool:
        if value not in (0, 1):
            raise self._source.damaged(f"the data flag of {which} is {value}, not 0 or 1")
        return value == 1

    def _section(self, which: str) -> Section:
        value = self._source.integer(f"the section of {which}")
        try:
            return Section(value)
        except ValueError as exc:
            raise self._source.damaged(f"{which} has an unknown section {value}") from exc

    def _relkind(self, which: str) -> str | None:
        value = self._source.integer(f"the relation kind of {which}")
        if value == 0:
            return None
        if not 32 < value < 127:
            raise self._source.damaged(f"the relation kind of {which} is {value}, not a letter")
        return chr(value)

    def _with_oids(self, which: str) -> bool:
        text = self._text(f"the OIDs flag of {which}")
        if text not in ("true", "false"):
            raise self._source.damaged(f"the OIDs flag of {which} is neither `true` nor `false`")
        return text == "true"

    def _dependencies(self, which: str) -> tuple[int, ...]:
        found: list[int] = []
        while (raw := self._source.string(f"a dependency of {which}")) is not None:
            if len(raw) > 10 or not raw.isdigit():
                raise self._source.damaged(f"a dependency of {which} is not a number")
            found.append(int(raw))
        return tuple(found)

    def _position(self, which: str) -> tuple[Position, int | None]:
        flag, offset = self._source.position(f"the data position of {which}")
        try:
            position = Position(flag)
        except ValueError as exc:
            raise self._source.damaged(f"{which} has an unknown position flag {flag}") from exc
        return position, offset if position is Position.SET else None

    def _set_encoding(self, definition: str | None) -> None:
        match = _CLIENT_ENCODING.fullmatch(definition or "")
        if match is None:
            raise self._source.damaged("the entry ENCODING does not name an encoding")
        self.encoding = match[1]

    def _checked(self, entry: TocEntry) -> TocEntry:
        if entry.had_dumper and entry.position is Position.NO_DATA:
            # pg_restore takes it at its word and restores an empty table, with exit code 0.
            raise self._source.damaged(
                f"{entry.description} `{entry.tag}` should have data and is marked as having none"
            )
        if entry.description == "TABLE DATA" and not entry.had_dumper:
            raise self._source.damaged(f"TABLE DATA `{entry.tag}` is marked as having no data")
        return entry
