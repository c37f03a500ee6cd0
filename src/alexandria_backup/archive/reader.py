"""An archive read from front to back: header, entries, then block after block.

The reader needs no file, only chunks of bytes in order, so that an archive is read from an object
store without a temporary copy. It checks all that pg_restore would stumble over and much that it
would not: pg_restore ends with exit code 0 on an uncompressed archive whose rows are missing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from alexandria_backup.archive.decompression import Decompressor, Stored, decompressor_for
from alexandria_backup.archive.primitives import PIECE_BYTES, ByteReader, gathered
from alexandria_backup.archive.raw_toc import RawEntry
from alexandria_backup.archive.toc import ArchiveHeader, Compression, Position, TocEntry
from alexandria_backup.archive.toc_reader import read_header, read_toc
from alexandria_backup.errors import ArchiveDamaged, PrecheckRefused

BLOCK_DATA: Final = 1
BLOCK_LARGE_OBJECTS: Final = 3
_NO_DECOMPRESSORS: Final[Mapping[Compression, Callable[[], Decompressor]]] = MappingProxyType({})


class _Body:
    """The chunks of one compressed stream, up to their terminator."""

    def __init__(
        self, source: ByteReader, what: str, open_stream: Callable[[], Decompressor] | None
    ) -> None:
        self._source = source
        self._what = what
        self._what_size = f"the size of a chunk of {what}"
        self._open_stream = open_stream
        self._started = False
        self.ended = False

    def pieces(self) -> Iterator[bytes]:
        if self._started:
            raise ValueError("the data of a block can be read once only")
        if self._open_stream is None:
            raise PrecheckRefused(f"the compression of {self._what} cannot be read here")
        self._started = True
        stream = self._open_stream()
        stored = isinstance(stream, Stored)
        return gathered(self._stored() if stored else self._decompressed(stream))

    def stored_chunks(self) -> Iterator[bytes]:
        if self._started:
            raise ValueError("the data of a block can be read once only")
        self._started = True
        while (size := self._next_size()) > 0:
            yield self._source.take(size, self._what)

    def skip(self) -> None:
        for _ in self._stored():
            pass

    def _decompressed(self, stream: Decompressor) -> Iterator[bytes]:
        for data in self._stored():
            yield from self._located(stream.decompress(data))
        yield from self._located(_finished(stream))

    def _located(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Say where in the archive it was that the decompressor found damage."""
        try:
            yield from pieces
        except ArchiveDamaged as exc:
            raise self._source.damaged(f"in {self._what}: {exc.message}", hint=exc.hint) from exc

    def _stored(self) -> Iterator[bytes]:
        # An uncompressed archive has a chunk per row: what stands in this loop costs per row.
        source, what = self._source, self._what
        while (size := self._next_size()) > 0:
            if size <= PIECE_BYTES:
                yield source.take(size, what)
            else:
                yield from source.stream(size, what)

    def _next_size(self) -> int:
        """Return the size of the next chunk, 0 at the end."""
        if self.ended:
            return 0
        size = self._source.integer(self._what_size)
        if size < 0:
            raise self._source.damaged(f"a chunk of {self._what} cannot be {size} bytes long")
        self.ended = size == 0
        return size


def _finished(stream: Decompressor) -> Iterator[bytes]:
    stream.finish()
    yield from ()


class TableBlock:
    """The data of one table: COPY text, or INSERT commands where the entry has no COPY command."""

    def __init__(self, entry: TocEntry, body: _Body, *, readable: bool) -> None:
        self.entry = entry
        #: False where no decompressor is at hand; then `chunks` refuses and `skip` works.
        self.readable = readable
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        """Yield the data, decompressed, in pieces of bounded size; once only.

        ArchiveDamaged where they are damaged or cut off; PrecheckRefused where not readable.
        """
        return self._body.pieces()

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield the data as they are stored, chunk by chunk; once only, and instead of `chunks`."""
        return self._body.stored_chunks()

    def skip(self) -> None:
        """Read past what is left of the block, without decompressing it."""
        if not self._body.ended:
            self._body.skip()


class LargeObject:
    """One large object of a block."""

    def __init__(self, oid: int, body: _Body) -> None:
        self.oid = oid
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        """Yield its content, decompressed; once only, and before the next object is asked for."""
        return self._body.pieces()

    def stored_chunks(self) -> Iterator[bytes]:
        """Yield it as it is stored, chunk by chunk; once only, and instead of `chunks`."""
        return self._body.stored_chunks()


class LargeObjectsBlock:
    """Some or all large objects of the database."""

    def __init__(
        self, entry: TocEntry, source: ByteReader, open_stream: Callable[[], Decompressor] | None
    ) -> None:
        self.entry = entry
        #: False where no decompressor is at hand; then the objects' `chunks` refuse.
        self.readable = open_stream is not None
        self._source = source
        self._open_stream = open_stream
        self._body: _Body | None = None
        self._ended = False

    def objects(self) -> Iterator[LargeObject]:
        """Yield each object; what is not read of one is skipped when the next is asked for."""
        while (item := self._next()) is not None:
            yield item

    def skip(self) -> None:
        """Read past what is left of the block, without decompressing it."""
        while self._next() is not None:
            pass

    def _next(self) -> LargeObject | None:
        if self._body is not None and not self._body.ended:
            self._body.skip()
        if self._ended:
            return None
        oid = self._source.integer("the OID of a large object")
        if oid == 0:
            self._ended = True
            return None
        # Written as the signed value of 32 bits: OIDs from 2^31 on come out negative.
        oid &= 0xFFFFFFFF
        self._body = _Body(self._source, f"large object {oid}", self._open_stream)
        return LargeObject(oid, self._body)


DataBlock = TableBlock | LargeObjectsBlock


class ArchiveReader:
    """An archive; building the reader reads header and entries.

    ArchiveDamaged where `chunks` are not a whole archive of pg_dump's custom format.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        decompressors: Mapping[Compression, Callable[[], Decompressor]] = _NO_DECOMPRESSORS,
    ) -> None:
        self._source = ByteReader(chunks)
        self.header: ArchiveHeader = read_header(self._source)
        toc = read_toc(self._source, self.header)
        #: In the order of the archive.
        self.entries: tuple[TocEntry, ...] = toc.entries
        #: The same as they were written.
        self.raw_entries: tuple[RawEntry, ...] = toc.raw
        #: Of text and data, by PostgreSQL's name.
        self.encoding: str = toc.encoding
        self._open_stream = decompressor_for(self.header.compression, decompressors)
        self._waiting = {entry.dump_id: entry for entry in toc.entries if entry.had_dumper}
        #: Where the block of an entry was found.
        self._found: dict[int, int] = {}
        self._begun = False

    def blocks(self) -> Iterator[DataBlock]:
        """Yield each data block in the order of the file; once only.

        What is not read of a block is skipped when the next one is asked for. After the last block
        the file must end, but for a second table of contents that says the same, and every entry
        that owns data must have had its block: ArchiveDamaged otherwise. So a caller who has seen
        the end has seen the whole archive.
        """
        if self._begun:
            raise ValueError("the blocks of an archive can be read once only")
        self._begun = True
        while self._waiting and not self._source.at_end():
            block = self._next_block()
            yield block
            block.skip()
        if not self._waiting and not self._source.at_end():
            self._read_second_toc()
        if self._waiting:
            missing = next(iter(self._waiting.values()))
            raise self._source.damaged(
                f"the file ends without the data of {_named(missing)}, and "
                f"{len(self._waiting)} blocks in all are missing",
            )

    def _next_block(self) -> DataBlock:
        source = self._source
        begin = source.offset
        kind = source.byte("the type of a data block")
        if kind not in (BLOCK_DATA, BLOCK_LARGE_OBJECTS):
            raise source.damaged(f"a data block was expected, and {kind} is no type of one")
        dump_id = source.integer("the number of a data block")
        entry = self._waiting.pop(dump_id, None)
        if entry is None:
            raise source.damaged(f"a data block of entry {dump_id} is not in its place")
        if entry.position is Position.SET and entry.offset != begin:
            # pg_restore would jump to where the entry says.
            raise source.damaged(
                f"the data of {_named(entry)} are at byte {begin}, "
                f"and the entry says {entry.offset}"
            )
        if (kind == BLOCK_LARGE_OBJECTS) != (entry.description == "BLOBS"):
            raise source.damaged(f"the data block of {_named(entry)} is of the wrong type")
        self._found[dump_id] = begin
        if kind == BLOCK_LARGE_OBJECTS:
            return LargeObjectsBlock(entry, source, self._open_stream)
        body = _Body(source, f"the data of {_named(entry)}", self._open_stream)
        return TableBlock(entry, body, readable=self._open_stream is not None)

    def _read_second_toc(self) -> None:
        """Read what pg_dump 16 and newer append to a file that is their standard output.

        They open standard output for appending too, and so the table of contents that they write
        again, now with the offsets of the data, lands behind the data and not over the first one.
        pg_restore never reads that far.
        """
        begin = self._source.offset
        try:
            again = read_toc(self._source, self.header)
        except ArchiveDamaged as exc:
            raise ArchiveDamaged(f"something follows the archive's end at byte {begin}") from exc
        same = tuple(map(_unplaced, again.entries)) == tuple(map(_unplaced, self.entries))
        placed = all(
            entry.offset == self._found.get(entry.dump_id, entry.offset) for entry in again.entries
        )
        if not same or not placed or not self._source.at_end():
            raise ArchiveDamaged(f"something follows the archive's end at byte {begin}")


def _unplaced(entry: TocEntry) -> TocEntry:
    return replace(entry, position=Position.NOT_SET, offset=None)


def _named(entry: TocEntry) -> str:
    name = f"{entry.namespace}.{entry.tag}" if entry.namespace else entry.tag
    return f"{entry.description} `{name}`"
