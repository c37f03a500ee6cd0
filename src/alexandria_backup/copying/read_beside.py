"""Read an archive that is taken apart but for the rows that lie apart, and tell what it holds.

A restore reads those rows while it loads them, and checks them then. Before anything is created it
needs to know what there is, and the manifest has said that.
"""

from dataclasses import replace

from alexandria_backup.archive.contents import TableContents
from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.archive_source import ArchiveSource, TableApart
from alexandria_backup.copying.read_archive import ReadArchive, read_archive
from alexandria_backup.events import Emit


def read_beside_frames(source: ArchiveSource, emit: Emit) -> ReadArchive | None:
    """Return what an archive holds, as `read_archive` does, without reading the rows of its frames.

    Tables that have some come with a number of rows, and no digest; None is returned for an archive
    that is in one piece. Raises what `read_archive` raises.
    """
    with source.apart() as apart:
        if apart is None:
            return None
        framed = {table.oid: table for table in apart.tables}
    entries = ArchiveReader(source.chunks()).entries
    read = read_archive(source.only(()), watch=lambda _: None, emit=emit)
    there = {table.dump_id for table in read.contents.tables}
    added = tuple(
        _contents(entry, framed[entry.oid])
        for entry in entries
        if entry.description == "TABLE DATA" and entry.oid in framed and entry.dump_id not in there
    )
    contents = replace(read.contents, tables=(*read.contents.tables, *added))
    return replace(read, bytes=source.size() or read.bytes, entries=entries, contents=contents)


def _contents(entry: TocEntry, table: TableApart) -> TableContents:
    return TableContents(
        dump_id=entry.dump_id,
        schema=entry.namespace or "",
        name=entry.tag,
        target=columns_of(table.copy_statement),
        rows=sum(rows.rows for rows in table.rows),
        raw_bytes=sum(rows.raw_bytes for rows in table.rows),
        digest=None,
    )
