"""Read an archive in full, as a restore would, and tell what it holds.

Taking, verifying and restoring a snapshot all read through here: what one of them has read, the
others can read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from alexandria_backup.archive.contents import ArchiveContents, RowSink, TableContents, survey
from alexandria_backup.archive.encodings import decode
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import ArchiveHeader, TocEntry
from alexandria_backup.copying.archive_source import DECOMPRESSORS, ArchiveSource
from alexandria_backup.copying.counted import counted
from alexandria_backup.copying.proof import ExpectedTable
from alexandria_backup.events import Emit
from alexandria_backup.sealing.digests import RowDigest, Sha256Tee


@dataclass(frozen=True, kw_only=True)
class ReadArchive:
    """An archive that was read from its first to its last byte."""

    bytes: int
    #: Of the stored bytes, in hex.
    sha256: str
    header: ArchiveHeader
    #: PostgreSQL's name of the encoding of text and data.
    encoding: str
    entries: tuple[TocEntry, ...]
    contents: ArchiveContents

    @property
    def rows(self) -> int:
        """All rows that could be counted."""
        return sum(table.rows or 0 for table in self.contents.tables)

    def expected_tables(self) -> tuple[ExpectedTable, ...]:
        """Return what each table must hold after a restore.

        Entries that load through the root of a partitioned table are joined to one for the root:
        where a row lands among the partitions is the new server's business.
        """
        groups: dict[tuple[str, str], list[TableContents]] = {}
        for table in self.contents.tables:
            schema, name = table.schema, table.name
            if table.target is not None:
                schema, name = table.target.schema or schema, table.target.table
            groups.setdefault((schema, name), []).append(table)
        defined = {
            (entry.namespace, entry.tag) for entry in self.entries if entry.description == "TABLE"
        }
        foreign = {
            (entry.namespace, entry.tag)
            for entry in self.entries
            if entry.description == "FOREIGN TABLE"
        }
        # A table that is not defined here belongs to an extension, which brings rows of its own.
        return tuple(
            _expected(schema, name, parts, complete=(schema, name) in defined)
            for (schema, name), parts in groups.items()
            # What another server holds is no matter of a restore here.
            if (schema, name) not in foreign
        )


def read_archive(
    source: ArchiveSource, *, watch: Callable[[TocEntry], RowSink | None], emit: Emit
) -> ReadArchive:
    """Read an archive to its end.

    `watch` is asked once per table and may return who else shall see its rows, in UTF-8. Raises
    SnapshotMissing where there is none, ArchiveDamaged where it is not whole, and whatever else
    `source` raises.
    """
    work = f"read {source.name}"
    return read_chunks(
        counted(source.chunks(), work=work, total=source.size(), emit=emit), watch=watch
    )


def read_chunks(
    chunks: Iterable[bytes], *, watch: Callable[[TocEntry], RowSink | None]
) -> ReadArchive:
    """Read an archive that comes in chunks, cut anywhere, to its end; see `read_archive`."""
    tee = Sha256Tee(chunks)
    reader = ArchiveReader(tee, decompressors=DECOMPRESSORS)
    contents = survey(reader, digest=RowDigest, watch=_in_utf8(watch, reader.encoding))
    return ReadArchive(
        bytes=tee.size,
        sha256=tee.hexdigest(),
        header=reader.header,
        encoding=reader.encoding,
        entries=reader.entries,
        contents=contents,
    )


def _expected(
    schema: str, name: str, parts: list[TableContents], *, complete: bool
) -> ExpectedTable:
    digests = [part.digest for part in parts if part.digest is not None]
    counts = [part.rows for part in parts if part.rows is not None]
    whole = len(counts) == len(parts)
    return ExpectedTable(
        schema=schema,
        name=name,
        columns=parts[0].columns,
        rows=sum(counts) if whole else None,
        # The rows of frames come without one.
        digest=RowDigest.combined(digests) if len(digests) == len(parts) else None,
        complete=complete,
    )


def _in_utf8(
    watch: Callable[[TocEntry], RowSink | None], encoding: str
) -> Callable[[TocEntry], RowSink | None]:
    """Let watchers see UTF-8, whatever the archive's encoding."""
    if encoding == "UTF8":
        return watch

    def watch_converted(entry: TocEntry) -> RowSink | None:
        sink = watch(entry)
        if sink is None:
            return None
        return lambda rows: sink([decode(row, encoding).encode() for row in rows])

    return watch_converted
