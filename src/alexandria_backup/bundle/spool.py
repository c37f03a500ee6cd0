"""Lines kept in memory in packed form: 200,000 entries of a manifest take about 15 MB."""

from collections.abc import Callable, Iterator
from typing import Final

from alexandria_backup.errors import BundleDamaged
from alexandria_backup.sealing.compression import compress, decompress

_BUFFER: Final = 256 * 1024
#: Longer than any entry with all extended attributes that Linux allows.
MOST_LINE: Final = 16 << 20


class LineSpool:
    """Lines in order: added one by one, and given back as often as wanted."""

    def __init__(self, watch: Callable[[bytes], None] | None = None) -> None:
        """Begin without lines; `watch` is given all that is added, in some division."""
        self._watch = watch
        #: Packed pieces, each with its size.
        self._packed: list[tuple[bytes, int]] = []
        self._buffer = bytearray()
        #: Lines so far, and their bytes with the line feeds.
        self.lines = 0
        self.size = 0

    def add(self, line: bytes) -> None:
        """Add a line, given without its line feed."""
        self.add_several(line, 1)

    def add_several(self, text: bytes, lines: int) -> None:
        """Add several lines at once, joined; given without the last line feed."""
        self._buffer += text
        self._buffer += b"\n"
        self.lines += lines
        self.size += len(text) + 1
        if len(self._buffer) >= _BUFFER:
            self.settle()

    def settle(self) -> None:
        """Pack what was added so far: `watch` has been given all of it then."""
        text = bytes(self._buffer)
        self._buffer.clear()
        if text:
            self._packed.append((compress(text), len(text)))
        if text and self._watch is not None:
            self._watch(text)

    def chunks(self) -> Iterator[bytes]:
        """Give all lines, joined, in chunks; nothing may be added meanwhile."""
        self.settle()
        for packed, size in self._packed:
            yield decompress(packed, size)

    def __iter__(self) -> Iterator[bytes]:
        """Give line by line, without line feeds."""
        return split_lines(self.chunks())


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
