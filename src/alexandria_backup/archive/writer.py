r"""One standard archive, written from a base archive and the rows of the tables that it lacks.

What is written is what pg_dump would have written: the stock pg_restore lists it, filters it, loads
it in parallel and from standard input. Nothing is staged: the base archive is read from front to
back, and the rows of a table are asked for when its place has come.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

from alexandria_backup.archive.body_writer import BodyWriter, Item
from alexandria_backup.archive.compression import StoredBodies, codec_for, segments
from alexandria_backup.archive.format_version import rewritten
from alexandria_backup.archive.injection import FramedTable, FrameRows, injected
from alexandria_backup.archive.owners import with_owners
from alexandria_backup.archive.primitives import gathered, integer
from alexandria_backup.archive.raw_toc import RawEntry, header_bytes, toc_bytes
from alexandria_backup.archive.reader import (
    BLOCK_DATA,
    BLOCK_LARGE_OBJECTS,
    ArchiveReader,
    DataBlock,
    LargeObject,
    LargeObjectsBlock,
    TableBlock,
)
from alexandria_backup.archive.toc import Compression, Position
from alexandria_backup.errors import SnapshotDamaged

#: What ends the rows of a table: the line `\.` and two empty ones.
TRAILER: Final = b"\\.\n\n\n"
_NO_COMPRESSORS: Final[Mapping[Compression, Callable[[bytes], bytes]]] = MappingProxyType({})


class SeekableFile(Protocol):
    """A file that can be gone back in, such as a `BinaryIO`."""

    def write(self, data: bytes, /) -> int:
        """Write all of `data`."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to a place, counted from the beginning."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _BlockBegin:
    dump_id: int


class ArchiveWriter:
    """An archive to be written once, either as a stream or into a file.

    Raises PrecheckRefused where it cannot be written as asked, ArchiveDamaged where `tables` do not
    fit the base archive. While it is written, whatever `base` and the frames raise comes through.
    Memory: a few segments for each thread, what a frame yields at once, and the longest row of the
    base archive.
    """

    def __init__(
        self,
        base: ArchiveReader,
        tables: Sequence[FramedTable] = (),
        *,
        compression: Compression | None = None,
        format_minor: int | None = None,
        compressors: Mapping[Compression, Callable[[bytes], bytes]] = _NO_COMPRESSORS,
        threads: int | None = None,
        roles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Prepare to write `base` with the data of `tables`.

        It names other roles in the place of those that `roles` has.

        Compression and version are those of the base archive where none are given. `compressors`
        turn a piece of text into one whole frame of an algorithm that is not built in.
        """
        self._base = base
        self._compression = compression or base.header.compression
        #: Bodies of the base archive go on as they are stored.
        self._copies = self._compression is base.header.compression
        owned = with_owners(base.raw_entries, roles, encoding=base.encoding)
        entries, self._tables = injected(owned, tables, encoding=base.encoding)
        self._header = rewritten(
            base.header.raw, entries, minor=format_minor, compression=self._compression
        )
        copies_all = self._copies and not tables
        self._codec = StoredBodies() if copies_all else codec_for(self._compression, compressors)
        self._entries = [_placed(entry, {}) for entry in entries]
        self._threads = threads or os.cpu_count() or 1

    def stream(self) -> Iterator[bytes]:
        """Yield the archive from front to back; its entries have no offsets.

        pg_restore reads such an archive from a pipe, and from a file, too; with `--jobs` each job
        then looks for its blocks from the beginning.
        """
        # By itself, so that whoever wants the entries alone has no rows fetched.
        yield self._head({})
        yield from gathered(item for item in self._data() if isinstance(item, bytes))

    def write_to(self, file: SeekableFile) -> int:
        """Write the archive with offsets into an empty file; return its size in bytes."""
        head = self._head({})
        file.write(head)
        size = len(head)
        offsets: dict[int, int] = {}

        def data() -> Iterator[bytes]:
            nonlocal size
            for item in self._data():
                if isinstance(item, bytes):
                    size += len(item)
                    yield item
                else:
                    offsets[item.dump_id] = size

        for piece in gathered(data()):
            file.write(piece)
        file.seek(0)
        file.write(self._head(offsets))
        return size

    def _head(self, offsets: Mapping[int, int]) -> bytes:
        entries = [_placed(entry, offsets) for entry in self._entries]
        return header_bytes(self._header) + toc_bytes(self._header, entries)

    def _data(self) -> Iterator[bytes | _BlockBegin]:
        bodies = BodyWriter[_BlockBegin](
            self._codec, int_size=self._header.int_size, threads=self._threads
        )
        with bodies:
            yield from bodies.in_order(self._blocks(bodies))

    def _blocks(self, bodies: BodyWriter[_BlockBegin]) -> Iterator[Item | _BlockBegin]:
        places = {entry.dump_id: at for at, entry in enumerate(self._entries)}
        waiting = deque(entry.dump_id for entry in self._entries if entry.dump_id in self._tables)
        for block in self._base.blocks():
            # Blocks stand in the order of their entries: pg_restore reads from a pipe, and takes
            # the distance of offsets for the size of a table.
            while waiting and places[waiting[0]] < places[block.entry.dump_id]:
                yield from self._framed_block(waiting.popleft(), bodies)
            yield from self._base_block(block, bodies)
        for dump_id in waiting:
            yield from self._framed_block(dump_id, bodies)

    def _framed_block(
        self, dump_id: int, bodies: BodyWriter[_BlockBegin]
    ) -> Iterator[Item | _BlockBegin]:
        yield from self._block_begin(BLOCK_DATA, dump_id)
        frames = self._tables[dump_id].frames
        if self._compression is Compression.ZSTD:
            for frame in frames:
                for whole in frame.zstd():
                    # The last chunk of a frame must end with it: pg_restore drops what follows.
                    yield from map(bodies.chunk, segments([whole]))
            yield from bodies.compressed([TRAILER])
        else:
            yield from bodies.compressed(_rows_and_trailer(frames))

    def _base_block(
        self, block: DataBlock, bodies: BodyWriter[_BlockBegin]
    ) -> Iterator[Item | _BlockBegin]:
        if isinstance(block, LargeObjectsBlock):
            yield from self._block_begin(BLOCK_LARGE_OBJECTS, block.entry.dump_id)
            for item in block.objects():
                # Written as the signed value of 32 bits.
                signed = item.oid - (1 << 32) if item.oid >> 31 else item.oid
                yield integer(signed, self._header.int_size)
                yield from self._body(item, bodies)
            yield integer(0, self._header.int_size)
        else:
            yield from self._block_begin(BLOCK_DATA, block.entry.dump_id)
            yield from self._body(block, bodies)

    def _block_begin(self, kind: int, dump_id: int) -> Iterator[Item | _BlockBegin]:
        yield _BlockBegin(dump_id=dump_id)
        yield bytes((kind,)) + integer(dump_id, self._header.int_size)

    def _body(
        self, body: TableBlock | LargeObject, bodies: BodyWriter[_BlockBegin]
    ) -> Iterator[Item]:
        if self._copies:
            return bodies.copied(body.stored_chunks())
        return bodies.compressed(body.chunks())


def _placed(entry: RawEntry, offsets: Mapping[int, int]) -> RawEntry:
    if not entry.had_dumper:
        return entry
    offset = offsets.get(entry.dump_id)
    if offset is None:
        return replace(entry, position=Position.NOT_SET, offset=0)
    return replace(entry, position=Position.SET, offset=offset)


def _rows_and_trailer(frames: Iterable[FrameRows]) -> Iterator[bytes]:
    for frame in frames:
        last = b"\n"
        for piece in frame.text():
            yield piece
            last = piece[-1:] or last
        if last != b"\n":
            # The next row, or the trailer, would become part of this one.
            raise SnapshotDamaged("the rows of a frame end inside a row")
    yield TRAILER
