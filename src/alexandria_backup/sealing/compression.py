"""Zstandard, by the standard library's API (PEP 784) and its backport."""

import sys
from collections.abc import Iterator
from typing import Final

from alexandria_backup.errors import ArchiveDamaged

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: What is yielded at once, at most.
PIECE_BYTES: Final = 1 << 20
#: Compared at once: this fits into a processor's cache.
_COMPARED_BYTES: Final = 1 << 18


class ZstdDecompressor:
    """A stream of one or more zstd frames, fed in chunks.

    With `frames_end_with_chunks`, a frame may end only where a chunk does. pg_restore drops what
    follows a frame inside a chunk, without a word, so an archive with such a chunk counts as
    damaged.
    """

    def __init__(self, *, frames_end_with_chunks: bool = False) -> None:
        self._frames_end_with_chunks = frames_end_with_chunks
        #: None between frames.
        self._frame: zstd.ZstdDecompressor | None = None

    def decompress(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` makes available; ArchiveDamaged where it is not zstd."""
        while data:
            frame = self._frame = self._frame or zstd.ZstdDecompressor()
            yield from _pieces(frame, data)
            if not frame.eof:
                return
            data, self._frame = frame.unused_data, None
            if data and self._frames_end_with_chunks:
                raise ArchiveDamaged("data follow a zstd frame inside a chunk")

    def finish(self) -> None:
        """Raise ArchiveDamaged where the last frame is not whole."""
        if self._frame is not None:
            raise ArchiveDamaged("compressed data end before the end of their zstd frame")


def archive_decompressor() -> ZstdDecompressor:
    """Return a decompressor for one body of an archive of `pg_dump --compress=zstd`."""
    return ZstdDecompressor(frames_end_with_chunks=True)


def compress(data: bytes, level: int = 1) -> bytes:
    """Return `data` as one zstd frame that tells its own size and carries a checksum.

    Level 1 is what the engine was measured with: on COPY text higher ones cost more than they gain.
    """
    return zstd.compress(
        data,
        options={
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.content_size_flag: 1,
            zstd.CompressionParameter.checksum_flag: 1,
        },
    )


def holds(data: bytes, text: bytes) -> bool:
    """Tell whether one zstd frame, which is all that `data` is, holds exactly `text`.

    Compared piece by piece while it is in the processor's cache: three times as fast as opening it
    whole.
    """
    frame = zstd.ZstdDecompressor()
    offset = 0
    try:
        while not frame.eof:
            piece = frame.decompress(data, _COMPARED_BYTES)
            data = b""
            if (not piece and not frame.eof) or text[offset : offset + len(piece)] != piece:
                return False
            offset += len(piece)
    except zstd.ZstdError:
        return False
    return offset == len(text) and not frame.unused_data


def decompress(data: bytes, most: int) -> bytes:
    """Return what one zstd frame holds, which is all that `data` is.

    ArchiveDamaged where it is cut off, altered, followed by anything, or holds more than `most`
    bytes: then no more than that was ever in memory.
    """
    frame = zstd.ZstdDecompressor()
    try:
        text = frame.decompress(data, most + 1)
    except zstd.ZstdError as exc:
        raise ArchiveDamaged(f"compressed data are damaged: {exc}") from exc
    if len(text) > most:
        raise ArchiveDamaged(f"compressed data hold more than {most:,} bytes")
    if not frame.eof:
        raise ArchiveDamaged("compressed data end before the end of their zstd frame")
    if frame.unused_data:
        raise ArchiveDamaged("data follow a zstd frame")
    return text


def _pieces(frame: zstd.ZstdDecompressor, data: bytes) -> Iterator[bytes]:
    while True:
        try:
            piece = frame.decompress(data, PIECE_BYTES)
        except zstd.ZstdError as exc:
            raise ArchiveDamaged(f"compressed data are damaged: {exc}") from exc
        if piece:
            yield piece
        if frame.eof or frame.needs_input:
            return
        data = b""
