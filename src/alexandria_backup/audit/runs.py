"""Runs: rows that came one after the other as their links say; all that is kept of rows that pass.

A table that was only ever appended to is one run. Memory grows with the number of runs, not of
rows; what may have to be looked up later is written to a temporary file (about 60 bytes per row),
which is read again only where the links are not in order.
"""

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from alexandria_backup.audit.recipe import HMAC_BYTES
from alexandria_backup.errors import StorageError

if TYPE_CHECKING:
    from hashlib import _Hash

#: Bytes that are kept in memory before a file is used, and written at a time.
_IN_MEMORY: Final = 8 * 1024 * 1024
_BATCH: Final = 2048
_READ: Final = 1024 * 1024
#: A record is seldom longer.
_USUAL: Final = 128
#: Length of the id; 1 where the row is what was signed, 2 where its digest follows the HMAC.
_HEAD: Final = struct.Struct("<IB")
_VALID: Final = 1
_DIGEST: Final = 2


@dataclass(slots=True, kw_only=True)
class Run:
    """Consecutive rows, each following the one before it."""

    number: int
    #: Whether its first row says that it follows none.
    begins: bool
    #: The HMAC that its first row follows; None where it begins a chain or the HMAC is unreadable.
    previous: bytes | None
    head: bytes
    head_id: str
    head_at: tuple[int, str]
    head_valid: bool
    #: Where its records begin in the log.
    offset: int
    rows: int = 0
    tip: bytes = b""
    tip_id: str = ""
    tip_at: tuple[int, str] = (0, "")
    #: Over the digests of its rows, where it begins a chain.
    rolling: "_Hash | None" = field(default=None)


class Record(NamedTuple):
    """What is remembered of one row."""

    id: str
    sealed: bytes
    valid: bool
    digest: bytes


class RunLog:
    """The rows of all runs, in the order in which they came."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._waiting: list[bytes] = []
        #: Bytes that were added.
        self.size = 0

    def add(self, ident: bytes, sealed: bytes, digest: bytes, *, valid: bool) -> None:
        """Remember a row; an empty `digest` is not needed later. Raises StorageError."""
        flags = (_VALID if valid else 0) | (_DIGEST if digest else 0)
        record = b"".join((_HEAD.pack(len(ident), flags), ident, sealed, digest))
        self._waiting.append(record)
        self.size += len(record)
        if len(self._waiting) >= _BATCH:
            self._write()

    def records(self, offset: int, count: int) -> Iterator[Record]:
        """Yield `count` records from `offset` on."""
        self._write()
        position, buffer, place = offset, b"", 0
        # Where the order breaks everywhere, runs are short, and so must reading be.
        amount = min(_READ, count * _USUAL)
        for _ in range(count):
            while len(buffer) - place < _HEAD.size or len(buffer) - place < _size(buffer, place):
                self._file.seek(position)
                more = self._file.read(amount)
                if not more:
                    raise StorageError("the links of the audit chain were cut off on disk")
                position += len(more)
                buffer, place = buffer[place:] + more, 0
            length, flags = _HEAD.unpack_from(buffer, place)
            start = place + _HEAD.size
            middle = start + length
            end = middle + HMAC_BYTES
            place += _size(buffer, place)
            yield Record(
                readable(buffer[start:middle]),
                buffer[middle:end],
                bool(flags & _VALID),
                buffer[end:place],
            )

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _write(self) -> None:
        try:
            self._file.seek(0, 2)
            self._file.write(b"".join(self._waiting))
        except OSError as error:
            raise StorageError(
                f"the links of the audit chain cannot be kept in `{tempfile.gettempdir()}`: "
                f"{error.strerror}",
                hint="export TMPDIR=…   # a folder with room for 60 bytes per audit row",
            ) from error
        self._waiting.clear()


def _size(buffer: bytes, place: int) -> int:
    length, flags = _HEAD.unpack_from(buffer, place)
    return int(_HEAD.size + length + HMAC_BYTES * (2 if flags & _DIGEST else 1))


def readable(text: bytes) -> str:
    """Return bytes of the table as text for a message."""
    return text.decode("utf-8", "backslashreplace")


def new_rolling() -> "_Hash":
    """Return an empty digest over the digests of rows."""
    return sha256()
