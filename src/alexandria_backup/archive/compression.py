"""How the bodies of an archive are compressed when it is written: segment by segment, in parallel.

A body is one stream for pg_restore. It may be put together from segments that were compressed
independently: a zstd body may consist of several frames as long as each ends with a chunk, and a
zlib stream of deflate segments that each end with a flush, as pigz makes them, with the checksum of
the whole combined from theirs. Everything here was tried with the stock pg_restore 15 to 18.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from alexandria_backup.archive.toc import Compression
from alexandria_backup.errors import PrecheckRefused

#: Of text per segment: enough that compressing them apart costs less than one percent.
SEGMENT_BYTES: Final = 1 << 20
_ADLER_MODULUS: Final = 65521
#: The adler32 of nothing.
EMPTY_ADLER: Final = 1


class Segment(NamedTuple):
    """A piece of a body, compressed."""

    stored: bytes
    raw_bytes: int
    #: Of the text; 0 where the compression has no use for it.
    adler32: int


class BodyCodec(Protocol):
    """One way to compress bodies. Its methods may be called by several threads at once."""

    #: What each body begins with.
    beginning: bytes
    #: Whether compressing is work that threads are worth.
    parallel: bool

    def segment(self, data: bytes) -> Segment:
        """Compress a piece of a body, which is not empty."""
        ...

    def ending(self, adler32: int) -> bytes:
        """Return what ends a body whose text has this checksum."""
        ...


class StoredBodies:
    """No compression."""

    beginning = b""
    parallel = False

    def segment(self, data: bytes) -> Segment:
        """Return `data`."""
        return Segment(data, len(data), 0)

    def ending(self, adler32: int) -> bytes:  # noqa: ARG002 - the port has it
        """Return nothing."""
        return b""


class ZlibBodies:
    """One zlib stream (RFC 1950) per body, of segments that know nothing of each other."""

    #: A window of 32 KiB, the default level.
    beginning = b"\x78\x9c"
    parallel = True

    def __init__(self, level: int = zlib.Z_DEFAULT_COMPRESSION) -> None:
        self._level = level

    def segment(self, data: bytes) -> Segment:
        """Deflate `data`, up to a byte boundary and without ending the stream."""
        # A negative window: neither header nor checksum, which belong to the whole.
        stream = zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS)
        stored = stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)
        return Segment(stored, len(data), zlib.adler32(data))

    def ending(self, adler32: int) -> bytes:
        """Return an empty last block, and the checksum of the whole."""
        return b"\x03\x00" + adler32.to_bytes(4, "big")


class FrameBodies:
    """One frame of another algorithm per segment; each ends with a chunk, which zstd needs."""

    beginning = b""
    parallel = True

    def __init__(self, compress: Callable[[bytes], bytes]) -> None:
        self._compress = compress

    def segment(self, data: bytes) -> Segment:
        """Compress `data` to a frame of its own."""
        return Segment(self._compress(data), len(data), 0)

    def ending(self, adler32: int) -> bytes:  # noqa: ARG002 - the port has it
        """Return nothing."""
        return b""


def codec_for(
    compression: Compression, compressors: Mapping[Compression, Callable[[bytes], bytes]]
) -> BodyCodec:
    """Return what compresses bodies; PrecheckRefused where nothing at hand does.

    `compressors` turn a piece of text into one whole frame.
    """
    if compression is Compression.NONE:
        return StoredBodies()
    if compression is Compression.GZIP:
        return ZlibBodies()
    if compression in compressors:
        return FrameBodies(compressors[compression])
    raise PrecheckRefused(f"`{compression}` cannot be written here")


def combined_adler32(first: int, second: int, second_bytes: int) -> int:
    """Return the adler32 of two texts, of which the second has `second_bytes`, one after the other.

    The formula is that of zlib's `adler32_combine`, which Python does not offer.
    """
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % _ADLER_MODULUS
    grown = second_bytes * ((first & 0xFFFF) - 1)
    high = ((first >> 16) + (second >> 16) + grown) % _ADLER_MODULUS
    return high << 16 | low


def segments(pieces: Iterable[bytes], size: int = SEGMENT_BYTES) -> Iterator[bytes]:
    """Yield the same bytes in pieces of exactly `size`, the last one shorter, none empty."""
    waiting: list[bytes] = []
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += len(piece)
        if held >= size:
            whole = b"".join(waiting)
            cut = held - held % size
            yield from (whole[at : at + size] for at in range(0, cut, size))
            waiting, held = [whole[cut:]], held - cut
    if held:
        yield b"".join(waiting)
