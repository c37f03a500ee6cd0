"""The bytes of a tar as a packed stream gives them: exactly so many, and no more than told."""

from collections.abc import Iterator

from alexandria_backup.errors import BundleDamaged
from alexandria_backup.sealing.blocks import Unpacked


class TarStream:
    """The bytes of a tar, read exactly."""

    def __init__(self, unpacked: Unpacked, limit: int | None = None) -> None:
        self._unpacked = unpacked
        self._pieces = iter(unpacked)
        self._piece = b""
        self._at = 0
        #: Bytes that were taken.
        self.offset = 0
        #: More than this is never unpacked.
        self._limit = limit

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        end = self._at + size
        if end <= len(self._piece):
            data = self._piece[self._at : end]
            self._at = end
            self.offset += size
            return data
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        """Give exactly `size` bytes, as they come."""
        while size:
            if self._at == len(self._piece):
                self._fill()
            data = self._piece[self._at : self._at + size]
            self._at += len(data)
            self.offset += len(data)
            size -= len(data)
            yield data

    def over(self) -> bool:
        """Tell whether there is nothing left; reads to the end of the packed stream."""
        return self._at == len(self._piece) and not any(self._pieces)

    def block_offset(self) -> int | None:
        """Return where the packed block begins whose first byte is the next one, if it is."""
        if self._at == len(self._piece):
            self._fill()
        raw, packed = self._unpacked.block
        return packed if raw == self.offset else None

    def _fill(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise BundleDamaged("the file was cut off: its tar ends too early")
        if self._limit is not None and self._unpacked.raw > self._limit:
            raise BundleDamaged(
                f"the file unpacks to more than the {self._limit:,} bytes that its manifest says"
            )
        self._piece, self._at = piece, 0
