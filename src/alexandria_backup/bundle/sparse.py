"""Files with holes: where their data lie, and a digest that does not depend on it.

In the tar they take the form of GNU tar's format 1.0 (`GNU.sparse.*` in a pax header, the map
before the data), which GNU tar, bsdtar and Python read. https://www.gnu.org/software/tar/manual,
"Storing Sparse Files".

The digest of a file with holes is the SHA-256 of each of its 64 KiB blocks that is not all zeros,
preceded by the block's offset, and of its size at the end (both as 8 bytes, most significant
first). So it costs what is stored and not what is read, and another layout gives the same digest.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from alexandria_backup.errors import BundleDamaged

BLOCK: Final = 64 * 1024
_ZEROS: Final = bytes(BLOCK)
_TAR_BLOCK: Final = 512
#: A file of more pieces is stored with its holes filled: its map would be longer than they are.
MOST_EXTENTS: Final = 100_000

Extents = tuple[tuple[int, int], ...]


def extents_of(descriptor: int, size: int, blocks: int) -> Extents | None:
    """Return where an open file has data; None where it has no holes, or too many.

    `blocks` is `st_blocks`: a file that takes all its bytes is not asked.
    """
    if blocks * 512 >= size:
        return None
    found: list[tuple[int, int]] = []
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from here on
            break
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start >= size or len(found) == MOST_EXTENTS:
            break
        found.append((start, end - start))
        position = end
    if len(found) == MOST_EXTENTS or found == [(0, size)]:
        return None
    return tuple(found)


def encode_map(extents: Extents, size: int) -> bytes:
    """Return the map that stands before the data, filled up to whole blocks of 512 bytes.

    A hole at the end is told by an empty extent there, as GNU tar does.
    """
    pieces = list(extents)
    if not pieces or sum(pieces[-1]) < size:
        pieces.append((size, 0))
    text = f"{len(pieces)}\n" + "".join(f"{offset}\n{length}\n" for offset, length in pieces)
    return text.encode() + bytes(-len(text) % _TAR_BLOCK)


def decode_map(text: bytes, size: int) -> Extents:
    """Return the extents of a map, its padding included; BundleDamaged where it is not one."""
    try:
        numbers = [int(word) for word in text.rstrip(b"\0").split(b"\n")[:-1]]
        count, *rest = numbers
        pieces = list(zip(rest[::2], rest[1::2], strict=True))
    except ValueError as exc:
        raise BundleDamaged("the map of a sparse file is malformed") from exc
    extents = tuple(piece for piece in pieces if piece != (size, 0))
    position = 0
    for offset, length in extents:
        if offset < position or length <= 0 or offset + length > size:
            raise BundleDamaged("the map of a sparse file does not fit its size")
        position = offset + length
    if count != len(pieces) or encode_map(extents, size) != text:
        raise BundleDamaged("the map of a sparse file is not in canonical form")
    return extents


class SparseDigest:
    """The digest of a file with holes, fed with its extents' data in order."""

    def __init__(self, extents: Sequence[tuple[int, int]], size: int) -> None:
        self._digest = sha256()
        self._size = size
        self._extents = iter(extents)
        #: The offset of the next byte, and how many are left of the present extent.
        self._position, self._left = 0, 0
        #: The block that is being filled: its offset and its bytes.
        self._start, self._block = 0, bytearray()

    def update(self, data: bytes) -> None:
        """Add data of the extents, one after the other; the division into calls is free."""
        rest = memoryview(data)
        while rest:
            if not self._left:
                self._position, self._left = next(self._extents)
            piece = rest[: min(self._left, BLOCK - self._position % BLOCK)]
            self._add(piece)
            rest = rest[len(piece) :]

    def hexdigest(self) -> str:
        """Return the digest once all data were added."""
        self._end_block()
        self._digest.update(self._size.to_bytes(8, "big"))
        return self._digest.hexdigest()

    def _add(self, piece: memoryview) -> None:
        start = self._position - self._position % BLOCK
        if start != self._start:
            self._end_block()
            self._start = start
        self._block += bytes(self._position - start - len(self._block))
        self._block += piece
        self._position += len(piece)
        self._left -= len(piece)

    def _end_block(self) -> None:
        length = min(BLOCK, self._size - self._start)
        self._block += bytes(length - len(self._block))
        if self._block != _ZEROS[:length]:
            self._digest.update(self._start.to_bytes(8, "big"))
            self._digest.update(self._block)
        self._block = bytearray()
