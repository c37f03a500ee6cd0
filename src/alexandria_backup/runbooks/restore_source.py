"""What a restore finds out about an archive by reading it, as its journal carries it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC

from alexandria_backup.archive.bound_extension import bound_extension
from alexandria_backup.archive.contents import ArchiveContents, LargeObjectsContents
from alexandria_backup.archive.inventory import (
    extensions,
    not_validated,
    ownerships,
    publications,
    roles_needed,
    tables,
    tables_without_data,
)
from alexandria_backup.archive.other_servers import other_servers
from alexandria_backup.archive.selection import select_tables
from alexandria_backup.copying.read_archive import ReadArchive
from alexandria_backup.postgres.startup import RENDERING
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.runbooks.chain_reader import ChainSeen
from alexandria_backup.runbooks.restore_state import Source

#: Format versions 1.x of archives, newest first, and the first version that reads each.
_READERS = ((16, 17), (15, 16), (14, 12))


def source_of(
    entry: SnapshotEntry, read: ReadArchive, identity: str, chain: ChainSeen | None
) -> Source:
    """Return what was read of an archive; `identity` stands for its contents."""
    manifest = entry.manifest
    bound = bound_extension(read.entries)
    elsewhere = other_servers(read.entries)
    return Source(
        bytes=read.bytes,
        identity=identity,
        manifest=manifest is not None,
        snapshot=entry.id,
        kind=manifest.kind.value if manifest else None,
        # An archive's header holds the local time of an unknown zone: no instant to compare with.
        created=manifest.created.astimezone(UTC) if manifest else None,
        database=read.header.database,
        server_version=read.header.server_version,
        dump_version=read.header.dump_version,
        tables=read.expected_tables(),
        defined=tuple(f"{t.schema}.{t.name}" for t in tables(read.entries)),
        without_data=tuple(f"{t.schema}.{t.name}" for t in tables_without_data(read.entries)),
        pg_restore=_oldest_reader(read.header.version),
        large_objects=read.contents.large_objects.count,
        raw_bytes=sum(table.raw_bytes or 0 for table in read.contents.tables),
        encoding=read.encoding,
        extensions=extensions(read.entries),
        bound_objection=bound.objection if bound else None,
        roles=roles_needed(read.entries),
        ownerships=ownerships(read.entries),
        publications=tuple(entry.tag for entry in publications(read.entries)),
        not_validated=not_validated(read.entries),
        chain=chain,
        not_filled=elsewhere.views,
        foreign_rows=elsewhere.foreign_rows,
        pinned_rendering=manifest is not None and manifest.rendering == dict(RENDERING),
    )


def part_of(
    entry: SnapshotEntry, read: ReadArchive, identity: str, names: Sequence[str]
) -> tuple[ReadArchive, Source]:
    """Return the part of what was read that restoring some tables takes, and the same as a value.

    A part has no audit chain: whether rows are missing there nobody could tell.
    """
    selection = select_tables(read.entries, names)
    contents = ArchiveContents(
        tables=tuple(t for t in read.contents.tables if t.dump_id in selection.entries),
        large_objects=LargeObjectsContents(count=0, raw_bytes=0, digest=None),
    )
    entries = tuple(e for e in read.entries if e.dump_id in selection.entries)
    part = replace(read, entries=entries, contents=contents)
    source = source_of(entry, part, identity, None)
    return part, source.model_copy(
        update={
            "left_out": selection.left_out,
            "empty": selection.empty,
            "without_data": tuple(t for t in source.without_data if t in selection.tables),
        }
    )


def _oldest_reader(version: tuple[int, int, int]) -> int:
    """Return the oldest major version whose pg_restore reads archives of this format version."""
    return next((major for minor, major in _READERS if version[1] >= minor), 0)


def rows_after(read: ReadArchive, source: Source) -> dict[str, int | None]:
    """Return the rows that each table will have; None where they are loaded through another one."""
    after: dict[str, int | None] = {f"{t.schema}.{t.name}": None for t in tables(read.entries)}
    after |= dict.fromkeys(source.without_data, 0)
    return after | {table.label: table.rows for table in source.tables}
