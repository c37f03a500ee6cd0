"""A stream in compressed blocks: packed by several threads, and findable from its end.

The stream is cut into blocks of 4 MiB, each a gzip member or a zstd frame of its own. Concatenated
they are one gzip or zstd file, which stock tools read; apart they are packed in parallel, and one
can be read without the others. The last thing in the stream is a trailer that holds nothing and
says where a marked block begins:

    gzip   an empty member (RFC 1952) with an extra field: `AB`, 8 bytes, offset (little endian)
    zstd   a skippable frame (RFC 8878, 3.1.2): `AXBT`, offset (little endian)

Bytes depend on content alone: gzip headers carry no time, and blocks do not depend on threads.
"""

import struct
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

import deflate

from alexandria_backup.errors import BundleDamaged

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: How much is packed at once. Each block begins without knowing the one before: larger ones pack
#: better, and take more memory.
BLOCK_BYTES: Final = 4 << 20
#: What is yielded at once, at most, when a stream is unpacked.
PIECE_BYTES: Final = 1 << 18
#: Blocks on their way for each thread: enough that none waits, and memory stays flat.
_AHEAD: Final = 1

#: Levels of libdeflate.
_GZIP_LEVEL: Final = 7
_QUICKER_LEVEL: Final = 5
_QUICKEST_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 3
#: The largest window that is accepted (8 MiB): a frame must not choose how much memory we take.
_ZSTD_WINDOW_LOG: Final = 23
_GZIP: Final = 31
#: The level of zlib that packs on trial.
_TRIAL_LEVEL: Final = 6
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
#: Parts of a block that are packed on trial: how far apart they begin, and how long each is.
_SAMPLE_STEP: Final = 256 * 1024
_SAMPLE_BYTES: Final = 8 * 1024

_GZIP_TRAILER: Final = struct.Struct("<10sH2sHQ10s")
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x03"
_GZIP_EMPTY: Final = b"\x03\x00" + bytes(8)
_ZSTD_TRAILER: Final = struct.Struct("<II4sQ")
_SKIPPABLE: Final = 0x184D2A5A
_MARK: Final = b"AXBT"
#: No trailer is longer.
TRAILER_BYTES: Final = max(_GZIP_TRAILER.size, _ZSTD_TRAILER.size)


class Compression(StrEnum):
    """How a stream is packed."""

    GZIP = "gzip"
    ZSTD = "zstd"


class BlockWriter:
    """Packs what it is given; iterate over what each call returns, in order, and write it.

    Close it in any case: threads are waiting.
    """

    def __init__(self, compression: Compression, threads: int) -> None:
        self._pack: Callable[[bytes], bytes] = (
            gzip_block if compression is Compression.GZIP else _zstd_block
        )
        self._compression = compression
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pack")
        self._most = threads * _AHEAD
        self._waiting: deque[Future[bytes]] = deque()
        #: What the next block is made of.
        self._pieces: list[bytes] = []
        self._filled = 0
        #: Bytes of packed data that were returned.
        self.packed = 0
        #: Bytes that were given.
        self.raw = 0

    def write(self, data: bytes) -> Sequence[bytes]:
        """Add data; return the blocks that are ready by now, mostly none."""
        self.raw += len(data)
        ready: list[bytes] = []
        while self._filled + len(data) >= BLOCK_BYTES:
            fits = BLOCK_BYTES - self._filled
            self._pieces.append(data[:fits])
            data = data[fits:]
            self._submit()
            while len(self._waiting) > self._most or (self._waiting and self._waiting[0].done()):
                ready.append(self._next())
        if data:
            self._pieces.append(data)
            self._filled += len(data)
        return ready

    def cut(self) -> Iterator[bytes]:
        """End the block, give all that is left; `packed` is then where the next one begins."""
        if self._pieces:
            self._submit()
        while self._waiting:
            yield self._next()

    def ease(self) -> None:
        """Spend less on what is given from now on, and does not pack well, as digests do not."""
        if self._compression is Compression.GZIP:
            self._pack = partial(gzip_block, level=_QUICKER_LEVEL)

    def trailer(self, offset: int) -> bytes:
        """Return the end of a stream, which says that the marked block begins at `offset`."""
        if self._compression is Compression.GZIP:
            return _GZIP_TRAILER.pack(_GZIP_HEAD, 12, b"AB", 8, offset, _GZIP_EMPTY)
        return _ZSTD_TRAILER.pack(_SKIPPABLE, 12, _MARK, offset)

    def close(self) -> None:
        """Let the threads end; what they were packing is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        self._waiting.append(self._pool.submit(self._pack, b"".join(self._pieces)))
        self._pieces, self._filled = [], 0

    def _next(self) -> bytes:
        packed = self._waiting.popleft().result()
        self.packed += len(packed)
        return packed


def gzip_block(block: bytes, level: int = _GZIP_LEVEL) -> bytes:
    """Return a block as a gzip member, with a level of libdeflate's or a quicker one.

    Where a search for repetitions finds none, as in vectors of floating-point numbers, the quickest
    level gives the smallest member. Where most of it is zeros, as the headers and padding of small
    files are, more effort gains a hundredth. libdeflate's other levels are not zlib's: its 7 packs
    text in less than two thirds of the time of zlib's 6, and smaller.
    """
    samples = [
        block[start : start + _SAMPLE_BYTES]
        for start in range(0, len(block) - _SAMPLE_BYTES, _SAMPLE_STEP)
    ]
    if len(block) >= _SAMPLE_STEP:
        if all(_has_no_repetitions(sample) for sample in samples):
            level = _QUICKEST_LEVEL
        elif sum(sample.count(0) for sample in samples) >= len(samples) * _SAMPLE_BYTES // 2:
            level = _QUICKER_LEVEL
    return bytes(deflate.gzip_compress(block, level))


def _has_no_repetitions(sample: bytes) -> bool:
    return _size(sample, zlib.Z_RLE) <= _size(sample, zlib.Z_DEFAULT_STRATEGY)


def _size(sample: bytes, strategy: int) -> int:
    packer = zlib.compressobj(_TRIAL_LEVEL, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, strategy)
    return len(packer.compress(sample)) + len(packer.flush())


def _zstd_block(block: bytes) -> bytes:
    return zstd.compress(
        block,
        options={
            zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
        },
    )


def compression_of(start: bytes) -> Compression:
    """Return how a stream that begins so is packed; BundleDamaged where it is not."""
    if start.startswith(_GZIP_MAGIC):
        return Compression.GZIP
    if start.startswith(_ZSTD_MAGIC):
        return Compression.ZSTD
    raise BundleDamaged("the file is packed neither with gzip nor with zstd")


def marked_offset(end: bytes) -> int:
    """Return where the marked block begins, from the last bytes of a stream.

    BundleDamaged where they are no trailer: the stream was cut off, or something else wrote it.
    """
    if end[-_GZIP_TRAILER.size :].startswith(_GZIP_HEAD):
        head, extra, mark, size, offset, empty = _GZIP_TRAILER.unpack(end[-_GZIP_TRAILER.size :])
        if (head, extra, mark, size, empty) == (_GZIP_HEAD, 12, b"AB", 8, _GZIP_EMPTY):
            return int(offset)
    if len(end) >= _ZSTD_TRAILER.size:
        magic, size, mark, offset = _ZSTD_TRAILER.unpack(end[-_ZSTD_TRAILER.size :])
        if (magic, size, mark) == (_SKIPPABLE, 12, _MARK):
            return int(offset)
    raise BundleDamaged(
        "the file does not end as a bundle does: it was cut off, or is none",
        hint="get the whole file again; a `.pgdump` is a snapshot: alexandria snapshot verify FILE",
    )


class Unpacked:
    """A packed stream, unpacked: pieces in order, and where its blocks begin.

    Iterate once. Raises BundleDamaged for what cannot be unpacked.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        #: Packed bytes so far, and the last ones of them.
        self.packed = 0
        self._end = b""
        #: Where the newest block begins: in the unpacked and in the packed stream.
        self.block: tuple[int, int] = (0, 0)
        self.raw = 0

    @property
    def end(self) -> bytes:
        """The last bytes of the packed stream so far: its trailer, once it is at its end."""
        return self._end

    def __iter__(self) -> Iterator[bytes]:
        data = self._more()
        compression = compression_of(data)
        while data:
            self.block = (self.raw, self.packed - len(data))
            unpacker = _unpacker(compression)
            try:
                yield from self._block(unpacker, data)
            except (zlib.error, zstd.ZstdError) as exc:
                raise BundleDamaged(f"the packed data are damaged: {exc}") from exc
            data = unpacker.unused_data or self._more()

    def _block(self, unpacker: "_Unpacker", data: bytes) -> Iterator[bytes]:
        while True:
            piece = unpacker.unpack(data)
            if piece:
                self.raw += len(piece)
                yield piece
            if unpacker.eof:
                return
            data = b""
            if unpacker.needs_input:
                data = self._more()
                if not data:
                    raise BundleDamaged("the file was cut off: its packed data end too early")

    def _more(self) -> bytes:
        chunk = next(self._chunks, b"")
        self.packed += len(chunk)
        self._end = (self._end + chunk[-TRAILER_BYTES:])[-TRAILER_BYTES:]
        return chunk


class _Unpacker(Protocol):
    """One block; gzip and zstd behind one form."""

    needs_input: bool

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def unpack(self, data: bytes) -> bytes: ...


class _GzipUnpacker:
    def __init__(self) -> None:
        self.needs_input = True
        self._unpacker = zlib.decompressobj(_GZIP)

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def unused_data(self) -> bytes:
        return self._unpacker.unused_data

    def unpack(self, data: bytes) -> bytes:
        piece = self._unpacker.decompress(data or self._unpacker.unconsumed_tail, PIECE_BYTES)
        self.needs_input = not self._unpacker.unconsumed_tail and len(piece) < PIECE_BYTES
        return piece


class _ZstdUnpacker:
    def __init__(self) -> None:
        self.needs_input = True
        self._unpacker = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        )

    @property
    def eof(self) -> bool:
        return self._unpacker.eof

    @property
    def unused_data(self) -> bytes:
        return self._unpacker.unused_data

    def unpack(self, data: bytes) -> bytes:
        piece = self._unpacker.decompress(data, PIECE_BYTES)
        self.needs_input = self._unpacker.needs_input
        return piece


def _unpacker(compression: Compression) -> _Unpacker:
    return _GzipUnpacker() if compression is Compression.GZIP else _ZstdUnpacker()
