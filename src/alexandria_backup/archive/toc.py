"""Header and table of contents (TOC) of an archive, as values.

The format is that of ReadHead and ReadToc in PostgreSQL's pg_backup_archiver.c, versions 1.12
(PostgreSQL 9.0) to 1.16 (PostgreSQL 18); `toc_reader.py` reads them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum, unique

from alexandria_backup.archive.raw_toc import RawEntry, RawHeader


@unique
class Compression(StrEnum):
    """How the bodies of an archive's data blocks are compressed."""

    NONE = "none"
    #: One zlib stream (RFC 1950) per body, which pg_dump calls gzip.
    GZIP = "gzip"
    LZ4 = "lz4"
    ZSTD = "zstd"


@unique
class Section(IntEnum):
    """Where in a restore an entry belongs."""

    #: Comments, privileges, labels: with the entry they describe.
    NONE = 1
    PRE_DATA = 2
    DATA = 3
    POST_DATA = 4


@unique
class Position(IntEnum):
    """What an entry's offset means."""

    #: The archive was written to a pipe: blocks are found by reading on.
    NOT_SET = 1
    SET = 2
    NO_DATA = 3


@dataclass(frozen=True, kw_only=True)
class ArchiveHeader:
    """The head of an archive: informative, but for version and compression."""

    #: Of the format, such as `(1, 15, 0)`.
    version: tuple[int, int, int]
    compression: Compression
    #: By the clock and in the time zone of the machine that dumped, which is not recorded: naive.
    created: datetime
    database: str
    #: Such as `16.4 (Debian 16.4-1)`.
    server_version: str
    #: Of the pg_dump that wrote the archive.
    dump_version: str
    #: The same as it was written.
    raw: RawHeader


@dataclass(frozen=True, kw_only=True, slots=True)
class TocEntry:
    """One object of the archive; NULL is None, and differs from the empty string."""

    #: Unique in the archive.
    dump_id: int
    #: The entry owns a data block.
    had_dumper: bool
    #: OID of the catalogue that held the object, 0 for TABLE DATA.
    table_oid: int
    #: OID of the object in that catalogue.
    oid: int
    #: The object's name, unquoted.
    tag: str
    #: The kind of object, such as `TABLE DATA`.
    description: str
    section: Section
    definition: str | None
    drop_statement: str | None
    #: None on TABLE DATA means that the data are INSERT commands.
    copy_statement: str | None
    #: The object's schema, unquoted.
    namespace: str | None
    #: None is none, the empty string the database's default.
    tablespace: str | None
    #: None before version 1.14, and on what has no storage.
    table_access_method: str | None
    #: One letter as in pg_class; None before version 1.16, and on what is no relation.
    relkind: str | None
    owner: str | None
    with_oids: bool
    #: In the archive's order; may name identifiers that are not in the archive.
    dependencies: tuple[int, ...]
    position: Position
    #: Where the data block begins; None unless the position is SET.
    offset: int | None


@dataclass(frozen=True, kw_only=True)
class TableOfContents:
    """All entries, in the order in which they are restored, and the encoding of text and data."""

    entries: tuple[TocEntry, ...]
    #: The same as they were written.
    raw: tuple[RawEntry, ...]
    #: PostgreSQL's name of it, such as `UTF8`.
    encoding: str
