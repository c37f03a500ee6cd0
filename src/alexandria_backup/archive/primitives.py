"""The primitive values of an archive: written, and read from chunks that may be cut anywhere.

Encodings are those of pg_backup_archiver.c: an INT is a sign byte and a little-endian magnitude, a
STR an INT length and that many bytes, with length -1 for NULL.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from alexandria_backup.errors import ArchiveDamaged

#: No string of a TOC can be longer: it is one value of the server's `text`.
LONGEST_STRING: Final = 1 << 30
#: Chunks of an archive are handed on in pieces of this size at most.
PIECE_BYTES: Final = 1 << 18
_GATHERED_BYTES: Final = 1 << 16


def integer(value: int, size: int) -> bytes:
    """Return an INT with a magnitude of `size` bytes."""
    return (b"\1" if value < 0 else b"\0") + abs(value).to_bytes(size, "little")


def string(value: bytes | None, size: int) -> bytes:
    """Return a STR whose length is an INT of `size` bytes."""
    return integer(-1, size) if value is None else integer(len(value), size) + value


def gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes with small pieces joined: some archives have one chunk per row."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _GATHERED_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


class ByteReader:
    """A forward-only reader that knows its offset and never asks for memory before bytes come.

    Every method raises ArchiveDamaged, with the offset and what was expected, where the stream ends
    too early or a value cannot be.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        #: Position in the buffer, and of the buffer in the stream.
        self._at = 0
        self._base = 0
        #: Bytes of an INT, and of an offset; the header says so.
        self.int_size = 4
        self.offset_size = 8

    @property
    def offset(self) -> int:
        """How many bytes have been read."""
        return self._base + self._at

    def damaged(self, message: str, *, hint: str | None = None) -> ArchiveDamaged:
        """Return the error for what was found at this offset."""
        return ArchiveDamaged(f"the archive is damaged at byte {self.offset}: {message}", hint=hint)

    def at_end(self) -> bool:
        """Tell whether the stream has ended."""
        while self._at == len(self._buffer):
            if not self._refill():
                return True
        return False

    def peek(self, size: int) -> bytes:
        """Return up to `size` of the next bytes without reading them; fewer only at the end."""
        while len(self._buffer) - self._at < size:
            more = next(self._chunks, None)
            if more is None:
                break
            self._base += self._at
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        return self._buffer[self._at : self._at + size]

    def take(self, size: int, what: str) -> bytes:
        """Return exactly the next `size` bytes."""
        end = self._at + size
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            return data
        return b"".join(self.stream(size, what))

    def stream(self, size: int, what: str) -> Iterator[bytes]:
        """Yield the next `size` bytes in pieces, so that a long value needs no memory."""
        while size:
            if self.at_end():
                raise ArchiveDamaged(
                    f"the archive is cut off at byte {self.offset}: "
                    f"{size} more bytes of {what} were expected",
                )
            start = self._at
            self._at = min(start + min(size, PIECE_BYTES), len(self._buffer))
            size -= self._at - start
            yield self._buffer[start : self._at]

    def byte(self, what: str) -> int:
        """Return the next byte."""
        return self.take(1, what)[0]

    def integer(self, what: str) -> int:
        """Return an INT."""
        raw = self.take(1 + self.int_size, what)
        magnitude = int.from_bytes(raw[1:], "little")
        return -magnitude if raw[0] else magnitude

    def string(self, what: str) -> bytes | None:
        """Return a STR without decoding it, or None for NULL, which is not the empty string."""
        length = self.integer(f"the length of {what}")
        if length == -1:
            return None
        if not 0 <= length <= LONGEST_STRING:
            raise self.damaged(f"{what} cannot be {length} bytes long")
        text = self.take(length, what)
        if b"\0" in text:
            raise self.damaged(f"{what} holds a NUL byte")
        return text

    def _refill(self) -> bool:
        more = next(self._chunks, None)
        if more is None:
            return False
        self._base += len(self._buffer)
        self._buffer = more
        self._at = 0
        return True
