"""Runs: rows that came one after the other as their links say; all that is kept of rows that pass.

A table that was only ever appended to is one run. Memory grows with the number of runs, not of
rows; what must be looked up later (id, HMAC and digest, about 95 bytes per row) goes to a temporary
file, in blocks, and is read once more to compute the digest over the chain in its own order.
"""

import struct
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

from alexandria_backup.audit.recipe import HMAC_BYTES
from alexandria_backup.errors import StorageError

#: Bytes that are kept in memory before a file is used, and written at a time.
_IN_MEMORY: Final = 8 * 1024 * 1024
_WRITTEN: Final = 1024 * 1024
#: Rows of a block; 1 where they are what was signed; bytes of the ids.
_HEAD: Final = struct.Struct("<IBI")
#: No text of PostgreSQL's holds it.
_BETWEEN: Final = b"\0"


class Record(NamedTuple):
    """What is remembered of one row."""

    id: str
    sealed: bytes
    valid: bool
    digest: bytes


class Block(NamedTuple):
    """What is remembered of consecutive rows: HMACs and digests, 32 bytes each, one by one."""

    rows: int
    valid: bool
    ids: bytes
    sealed: bytes
    digests: bytes

    def id_at(self, index: int) -> str:
        """Return the id of a row of the block."""
        return readable(self.ids.split(_BETWEEN)[index])

    def cut(self, start: int, end: int) -> "Block":
        """Return the rows from `start` to before `end`."""
        ids = self.ids.split(_BETWEEN)[start:end]
        part = slice(start * HMAC_BYTES, end * HMAC_BYTES)
        return Block(
            len(ids), self.valid, _BETWEEN.join(ids), self.sealed[part], self.digests[part]
        )


class RunLog:
    """The rows of all runs; several processes may each write one, and one process reads them all.

    Without a path the file has no name and vanishes with the object.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file: IO[bytes] = (
            tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by `close`
            if path is None
            else path.open("w+b")
        )
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._size = 0

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopened, (self._path,))

    def add(
        self,
        ids: Sequence[bytes],
        sealed: Sequence[bytes],
        digests: Sequence[bytes],
        *,
        valid: bool,
    ) -> int:
        """Remember rows that follow each other; return where they are. Raises StorageError."""
        joined = _BETWEEN.join(ids)
        block = b"".join((_HEAD.pack(len(ids), valid, len(joined)), joined, *sealed, *digests))
        place = self._size
        self._size += len(block)
        self._waiting.append(block)
        self._waiting_bytes += len(block)
        if self._waiting_bytes >= _WRITTEN:
            self.flush()
        return place

    def block(self, place: int) -> Block:
        """Return the rows that `add` has put at a place."""
        self.flush()
        self._file.seek(place)
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise StorageError("the links of the audit chain were cut off on disk")
        rows, valid, length = _HEAD.unpack(head)
        body = self._file.read(length + rows * HMAC_BYTES * 2)
        middle, end = length + rows * HMAC_BYTES, length + rows * HMAC_BYTES * 2
        if len(body) < end:
            raise StorageError("the links of the audit chain were cut off on disk")
        return Block(rows, bool(valid), body[:length], body[length:middle], body[middle:end])

    def flush(self) -> None:
        """Write what waits. Raises StorageError."""
        if not self._waiting:
            return
        try:
            self._file.seek(0, 2)
            self._file.write(b"".join(self._waiting))
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"the links of the audit chain cannot be kept in `{tempfile.gettempdir()}`: "
                f"{error.strerror}",
                hint="export TMPDIR=…   # a folder with room for 100 bytes per audit row",
            ) from error
        self._waiting.clear()
        self._waiting_bytes = 0

    def close(self) -> None:
        """Remove the file; may be called twice."""
        self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _reopened(path: Path) -> RunLog:
    """Read in this process what another one has written."""
    log = RunLog.__new__(RunLog)
    log.__dict__.update(_path=path, _file=path.open("rb"), _waiting=[], _waiting_bytes=0)
    return log


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """Consecutive rows, each following the one before it.

    There may be as many as there are rows, so nothing is held twice.
    """

    number: int
    log: RunLog
    #: Whether its first row says that it follows none.
    begins: bool
    #: The HMAC that its first row follows; None where it begins a chain or the HMAC is unreadable.
    previous: bytes | None
    head: bytes
    head_id: str
    #: When a row says that it was made, in microseconds since the epoch; 0 where it says nothing.
    head_time: int
    head_valid: bool
    #: Where its rows are in the log: the first block, and those behind it.
    first_block: int = 0
    more_blocks: "array[int] | None" = None
    rows: int = 0
    tip: bytes = b""
    tip_id: str = ""
    tip_time: int = 0

    @property
    def head_at(self) -> tuple[int, str]:
        """Time and id of its first row."""
        return self.head_time, self.head_id

    @property
    def tip_at(self) -> tuple[int, str]:
        """Time and id of its last row."""
        return self.tip_time, self.tip_id

    def add(self, block: int, rows: int, tip: bytes) -> None:
        """Add rows that are in a block of the log, the last of them with the HMAC `tip`."""
        if not self.rows:
            self.first_block = block
        elif self.more_blocks is None:
            self.more_blocks = array("Q", [block])
        else:
            self.more_blocks.append(block)
        self.rows += rows
        self.tip = tip

    def remembered(self) -> Iterator[Block]:
        """Yield the run's rows, block by block, in order."""
        return map(self.log.block, (self.first_block, *(self.more_blocks or ())))

    def records(self) -> Iterator[Record]:
        """Yield the run's rows one by one, in order."""
        for block in self.remembered():
            for index, ident in enumerate(block.ids.split(_BETWEEN)):
                part = slice(index * HMAC_BYTES, (index + 1) * HMAC_BYTES)
                yield Record(readable(ident), block.sealed[part], block.valid, block.digests[part])


def readable(text: bytes) -> str:
    """Return bytes of the table as text for a message."""
    return text.decode("utf-8", "backslashreplace")
