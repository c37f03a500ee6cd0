"""Lines kept in memory in packed form: 200,000 entries of a manifest take about 15 MB."""

import zlib
from collections.abc import Iterator
from typing import Final

from alexandria_backup.errors import BundleDamaged

_BUFFER: Final = 256 * 1024
_PIECE: Final = 64 * 1024
#: Longer than any entry with all extended attributes that Linux allows.
MOST_LINE: Final = 16 << 20


class LineSpool:
    """Lines in order: added one by one, and given back as often as wanted."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        self._packed: list[bytes] = []
        self._buffer = bytearray()
        #: Lines so far, and their bytes with the line feeds.
        self.lines = 0
        self.size = 0

    def add(self, line: bytes) -> None:
        """Add a line, given without its line feed."""
        self._buffer += line
        self._buffer += b"\n"
        self.lines += 1
        self.size += len(line) + 1
        if len(self._buffer) >= _BUFFER:
            self._pack()

    def chunks(self) -> Iterator[bytes]:
        """Give all lines, joined, in chunks; nothing may be added meanwhile."""
        self._pack()
        end = self._packer.copy().flush()
        unpacker = zlib.decompressobj(-15)
        for packed in (*self._packed, end):
            data = packed
            while data:
                yield unpacker.decompress(data, _PIECE)
                data = unpacker.unconsumed_tail
        yield unpacker.flush()

    def __iter__(self) -> Iterator[bytes]:
        """Give line by line, without line feeds."""
        return split_lines(self.chunks())

    def _pack(self) -> None:
        packed = self._packer.compress(self._buffer)
        if packed:
            self._packed.append(packed)
        self._buffer = bytearray()


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Give the lines of a text that comes in chunks; BundleDamaged where one is endless."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MOST_LINE:
            raise BundleDamaged("a line of the manifest is longer than any entry can be")
    if rest:
        yield rest
