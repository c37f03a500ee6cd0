"""Digests: of bytes as they are stored, and of rows whatever their order."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

_MODULUS_MASK: Final = (1 << 256) - 1


class Sha256Tee:
    """Chunks on their way through, their number of bytes and their SHA-256.

    Iterate once; `size` and `hexdigest()` tell what has passed so far.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._digest = sha256()
        #: Bytes that have passed.
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            self.size += len(chunk)
            yield chunk

    def hexdigest(self) -> str:
        """Return the SHA-256 of what has passed, in hex."""
        return self._digest.hexdigest()


class RowDigest:
    """A digest of a multiset of rows: the sum of their SHA-256 modulo 2^256, and their number.

    Equal digests mean that no row was lost, changed, or doubled, in whatever order the rows came:
    that proves a copy against accident. They are no defence against an adversary who chooses rows,
    for whom such sums can be solved; that is what the signed SHA-256 of the stored bytes is for.
    Rows are compared as bytes: both sides must be rendered with the same settings.
    """

    def __init__(self) -> None:
        self._sum = 0
        #: Rows that were added.
        self.rows = 0

    def add(self, row: bytes) -> None:
        """Add a row, without the line feed that ends it in COPY text."""
        self._sum += int.from_bytes(sha256(row).digest(), "big")
        self.rows += 1

    def add_all(self, rows: Iterable[bytes]) -> None:
        """Add many rows; the same as `add` for each."""
        number, total = 0, self._sum
        for row in rows:
            total += int.from_bytes(sha256(row).digest(), "big")
            number += 1
        self._sum = total & _MODULUS_MASK
        self.rows += number

    def hexdigest(self) -> str:
        """Return the number of rows, a colon, and the sum in hex."""
        return f"{self.rows}:{self._sum & _MODULUS_MASK:064x}"

    @classmethod
    def combined(cls, digests: Iterable[str]) -> str:
        """Return the digest of all rows of several digests, given as `hexdigest` returned them.

        Raises ValueError for anything else.
        """
        whole = cls()
        for digest in digests:
            rows, _, total = digest.partition(":")
            whole.rows += int(rows)
            whole._sum += int(total, 16)
        return whole.hexdigest()
