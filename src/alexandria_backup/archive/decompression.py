"""The port to decompression, and the one algorithm that needs no library.

A decompressor reads one body: the data of one table, or one large object. Other algorithms than
gzip come from the room `sealing`, given to the reader by whoever builds it.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from alexandria_backup.archive.toc import Compression
from alexandria_backup.errors import ArchiveDamaged

#: What a decompressor yields at once, at most.
PIECE_BYTES: Final = 1 << 20


class Decompressor(Protocol):
    """One compressed stream, fed chunk by chunk in the order of the archive."""

    def decompress(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` makes available, in pieces of bounded size.

        ArchiveDamaged where the data are not of this algorithm, or follow the end of the stream.
        """
        ...

    def finish(self) -> None:
        """Raise ArchiveDamaged unless the stream is whole; called once, at the end of the body."""
        ...


class Stored:
    """No compression: the format has no check for such a body."""

    def decompress(self, data: bytes) -> Iterator[bytes]:
        """Yield `data`."""
        yield data

    def finish(self) -> None:
        """Accept any end."""


class Zlib:
    """One zlib stream (RFC 1950); its checksum is verified at the end."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def decompress(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` makes available."""
        while data and not self._stream.eof:
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except zlib.error as exc:
                raise ArchiveDamaged(f"compressed data are damaged: {_reason(exc)}") from exc
            data = self._stream.unconsumed_tail
            if piece:
                yield piece
        if data or self._stream.unused_data:
            # pg_restore loops for ever on this, at full speed.
            raise ArchiveDamaged("data follow the end of a compressed stream")

    def finish(self) -> None:
        """Raise unless the end of the stream and a fitting checksum have been seen."""
        if not self._stream.eof:
            raise ArchiveDamaged("compressed data end before the end of their stream")


def _reason(error: zlib.error) -> str:
    # zlib writes: Error -3 while decompressing data: incorrect data check
    return str(error).rpartition(": ")[2]


_BUILT_IN: Final[Mapping[Compression, Callable[[], Decompressor]]] = {
    Compression.NONE: Stored,
    Compression.GZIP: Zlib,
}


def decompressor_for(
    compression: Compression, others: Mapping[Compression, Callable[[], Decompressor]]
) -> Callable[[], Decompressor] | None:
    """Return what makes decompressors for `compression`, or None where it cannot be read."""
    return others.get(compression) or _BUILT_IN.get(compression)
