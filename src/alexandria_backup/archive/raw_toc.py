"""Header and entries of an archive as they are written: every field, and no field understood.

What is read here can be written again without the loss of a byte, whatever its encoding. Source of
the format: ReadHead, WriteHead, ReadToc and WriteToc in PostgreSQL's pg_backup_archiver.c.
`toc_reader.py` tells what the fields mean.
"""

from dataclasses import dataclass
from typing import Final

from alexandria_backup.archive.foreign import MAGIC
from alexandria_backup.archive.primitives import ByteReader, integer, string

#: The format of an archive that is one file.
CUSTOM: Final = 1
#: The first minor versions that have a field.
HAS_ACCESS_METHOD: Final = 14
HAS_ALGORITHM: Final = 15
HAS_RELKIND: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class RawHeader:
    """The head of an archive, up to the number of entries."""

    version: tuple[int, int, int]
    int_size: int
    offset_size: int
    #: Before version 1.15 a level, where 0 is none and all others are gzip; then an algorithm.
    compression: int
    #: A `struct tm`: second, minute, hour, day, month from 0, year from 1900, daylight saving time.
    created: tuple[int, ...]
    database: bytes | None
    server_version: bytes | None
    dump_version: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RawEntry:
    """One entry; text is in the archive's encoding, and NULL is None."""

    dump_id: int
    had_dumper: int
    table_oid: bytes | None
    oid: bytes | None
    tag: bytes | None
    description: bytes | None
    section: int
    definition: bytes | None
    drop_statement: bytes | None
    copy_statement: bytes | None
    namespace: bytes | None
    tablespace: bytes | None
    #: None before version 1.14.
    table_access_method: bytes | None
    #: A letter's code; 0 before version 1.16, and on what is no relation.
    relkind: int
    owner: bytes | None
    with_oids: bytes | None
    dependencies: tuple[bytes, ...]
    position: int
    offset: int


def read_raw_entry(source: ByteReader, minor: int, which: str) -> RawEntry:
    """Read an entry of format 1.`minor`; ArchiveDamaged where the bytes cannot be one."""
    # Arguments are evaluated in the order in which they stand, which is that of the file.
    return RawEntry(
        dump_id=source.integer(f"the number of {which}"),
        had_dumper=source.integer(f"the data flag of {which}"),
        table_oid=source.string(f"the catalogue of {which}"),
        oid=source.string(f"the OID of {which}"),
        tag=source.string(f"the name of {which}"),
        description=source.string(f"the kind of {which}"),
        section=source.integer(f"the section of {which}"),
        definition=source.string(f"the definition of {which}"),
        drop_statement=source.string(f"the drop statement of {which}"),
        copy_statement=source.string(f"the copy statement of {which}"),
        namespace=source.string(f"the schema of {which}"),
        tablespace=source.string(f"the tablespace of {which}"),
        table_access_method=source.string(f"the access method of {which}")
        if minor >= HAS_ACCESS_METHOD
        else None,
        relkind=source.integer(f"the relation kind of {which}") if minor >= HAS_RELKIND else 0,
        owner=source.string(f"the owner of {which}"),
        with_oids=source.string(f"the OIDs flag of {which}"),
        dependencies=_read_dependencies(source, which),
        position=source.byte(f"the data position of {which}"),
        offset=int.from_bytes(
            source.take(source.offset_size, f"the data position of {which}"), "little"
        ),
    )


def _read_dependencies(source: ByteReader, which: str) -> tuple[bytes, ...]:
    found: list[bytes] = []
    while (raw := source.string(f"a dependency of {which}")) is not None:
        found.append(raw)
    return tuple(found)


def header_bytes(header: RawHeader) -> bytes:
    """Return the head as it stands in the file."""
    size = header.int_size
    return b"".join(
        (
            MAGIC,
            bytes((*header.version, size, header.offset_size, CUSTOM)),
            bytes((header.compression,))
            if header.version[1] >= HAS_ALGORITHM
            else integer(header.compression, size),
            *(integer(value, size) for value in header.created),
            string(header.database, size),
            string(header.server_version, size),
            string(header.dump_version, size),
        )
    )


def toc_bytes(header: RawHeader, entries: list[RawEntry]) -> bytes:
    """Return the number of entries and the entries as they stand in the file.

    Their size does not depend on the offsets, which may thus be patched in place.
    """
    parts = [integer(len(entries), header.int_size)]
    parts.extend(_entry_bytes(entry, header) for entry in entries)
    return b"".join(parts)


def _entry_bytes(entry: RawEntry, header: RawHeader) -> bytes:
    size, minor = header.int_size, header.version[1]
    return b"".join(
        (
            integer(entry.dump_id, size),
            integer(entry.had_dumper, size),
            string(entry.table_oid, size),
            string(entry.oid, size),
            string(entry.tag, size),
            string(entry.description, size),
            integer(entry.section, size),
            string(entry.definition, size),
            string(entry.drop_statement, size),
            string(entry.copy_statement, size),
            string(entry.namespace, size),
            string(entry.tablespace, size),
            string(entry.table_access_method, size) if minor >= HAS_ACCESS_METHOD else b"",
            integer(entry.relkind, size) if minor >= HAS_RELKIND else b"",
            string(entry.owner, size),
            string(entry.with_oids, size),
            *(string(dependency, size) for dependency in entry.dependencies),
            string(None, size),
            bytes((entry.position,)),
            entry.offset.to_bytes(header.offset_size, "little"),
        )
    )
