"""What an archive holds, found by reading all of it once: rows, bytes and digests per table.

The pass is the one that a restore makes: whoever has the contents has seen every byte of the
archive decompressed and every row counted. What could not be counted is said, never guessed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from alexandria_backup.archive.copy_text import CopyTarget, batches, columns_of
from alexandria_backup.archive.reader import ArchiveReader, LargeObjectsBlock, TableBlock
from alexandria_backup.archive.toc import TocEntry


class RowsDigest(Protocol):
    """A digest of rows that does not depend on how they are divided into calls."""

    def add_all(self, rows: Sequence[bytes]) -> None:
        """Add rows, each without its line feed, still escaped."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all rows added."""
        ...


#: Receives rows in their order, some at a time, each without its line feed and still escaped.
RowSink = Callable[[Sequence[bytes]], None]


@dataclass(frozen=True, kw_only=True)
class TableContents:
    """The data of one TABLE DATA entry."""

    dump_id: int
    schema: str
    name: str
    #: Where the rows go: another table than this one where they are loaded through the root of a
    #: partitioned table. None where the data are INSERT commands.
    target: CopyTarget | None
    #: None where rows could not be counted: the data are INSERT commands, or not `readable`.
    rows: int | None
    #: Bytes of the rows with their line feeds; of the commands where they are INSERT commands;
    #: None where not `readable`.
    raw_bytes: int | None
    #: None where rows is None.
    digest: str | None
    #: False where the compression of the archive cannot be read here: nothing was verified then.
    readable: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, in the order of the values of a row; empty where the target is None."""
        return () if self.target is None else self.target.columns


@dataclass(frozen=True, kw_only=True)
class LargeObjectsContents:
    """All large objects together."""

    count: int
    #: None, as the digest, where not `readable`.
    raw_bytes: int | None
    #: Of one row per object: OID in decimal, a tab, SHA-256 of its content in hex.
    digest: str | None
    readable: bool = True


@dataclass(frozen=True, kw_only=True)
class ArchiveContents:
    """The data of an archive, in its order."""

    tables: tuple[TableContents, ...]
    large_objects: LargeObjectsContents

    @property
    def unverified(self) -> tuple[str, ...]:
        """Names of what is in the archive and could not be counted, such as `public.users`."""
        tables = [f"{t.schema}.{t.name}" for t in self.tables if t.rows is None]
        return (*tables, *(() if self.large_objects.readable else ("large objects",)))


def _unwatched(_entry: TocEntry) -> RowSink | None:
    return None


def survey(
    reader: ArchiveReader,
    *,
    digest: Callable[[], RowsDigest],
    watch: Callable[[TocEntry], RowSink | None] = _unwatched,
) -> ArchiveContents:
    """Read all blocks of `reader` and tell what is in them.

    `digest` makes the digest of one table; `watch` is asked once per table with COPY data that is
    readable and may return who else shall see its rows. ArchiveDamaged where anything is damaged.
    Memory: a few chunks and the longest row.
    """
    tables: list[TableContents] = []
    objects = _LargeObjectsSurvey(digest())
    for block in reader.blocks():
        if isinstance(block, LargeObjectsBlock):
            objects.read(block)
        else:
            tables.append(_table(block, digest(), watch))
    return ArchiveContents(tables=tuple(tables), large_objects=objects.result())


def _table(
    block: TableBlock, digest: RowsDigest, watch: Callable[[TocEntry], RowSink | None]
) -> TableContents:
    entry = block.entry
    target = None if entry.copy_statement is None else columns_of(entry.copy_statement)
    rows: int | None = None
    raw_bytes: int | None = None
    if block.readable and target is not None:
        rows, raw_bytes = _count(block, digest, watch(entry))
    elif block.readable:
        raw_bytes = sum(map(len, block.chunks()))
    else:
        block.skip()
    return TableContents(
        dump_id=entry.dump_id,
        schema=entry.namespace or (target and target.schema) or "",
        name=entry.tag,
        target=target,
        rows=rows,
        raw_bytes=raw_bytes,
        digest=None if rows is None else digest.hexdigest(),
        readable=block.readable,
    )


def _count(block: TableBlock, digest: RowsDigest, sink: RowSink | None) -> tuple[int, int]:
    rows = raw_bytes = 0
    for batch in batches(block.chunks()):
        digest.add_all(batch)
        if sink is not None:
            sink(batch)
        rows += len(batch)
        raw_bytes += sum(map(len, batch)) + len(batch)
    return rows, raw_bytes


class _LargeObjectsSurvey:
    def __init__(self, digest: RowsDigest) -> None:
        self._digest = digest
        self._count = 0
        self._bytes = 0
        self._readable = True

    def read(self, block: LargeObjectsBlock) -> None:
        self._readable = self._readable and block.readable
        for item in block.objects():
            self._count += 1
            if not block.readable:
                continue
            content = sha256()
            for chunk in item.chunks():
                content.update(chunk)
                self._bytes += len(chunk)
            self._digest.add_all([f"{item.oid}\t{content.hexdigest()}".encode()])

    def result(self) -> LargeObjectsContents:
        return LargeObjectsContents(
            count=self._count,
            raw_bytes=self._bytes if self._readable else None,
            digest=self._digest.hexdigest() if self._readable else None,
            readable=self._readable,
        )
