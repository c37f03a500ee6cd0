"""The state of a chain, small enough to be kept where the database's administrators cannot write.

A chain cannot show by itself that its end was cut off or that somebody with the key rewrote it. An
anchor can: the chain must still hold, at the anchor's position, the anchored HMAC, and everything
up to there must have the anchored digest.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

#: The name of the chain of a table that is one chain.
WHOLE_TABLE: Final = ""
#: Rows whose digests are hashed together: what an anchor can be resumed from, see `Rolling`.
BLOCK_ROWS: Final = 4096
_DIGEST_BYTES: Final = 32
_BLOCK_BYTES: Final = BLOCK_ROWS * _DIGEST_BYTES


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A chain's first and last row, how many there are, and a digest over all of them."""

    #: The tenant; empty where the whole table is one chain, and for rows of no tenant.
    chain: str
    #: Rows from the first to the last; rows without an HMAC are not counted.
    count: int
    first_id: str
    #: HMACs as the column holds them.
    first_hmac: str
    last_id: str
    last_hmac: str
    #: The digest over all rows, in hex: see `Rolling`, or `flat` where `settled` is None.
    rolling: str
    #: What `Rolling` can be resumed from, in hex; None in anchors of the first release.
    settled: str | None = None
    #: The incarnation of the database, see that module; None where none was declared.
    incarnation: str | None = None


class Rolling:
    """A digest over the rows of a chain, which can go on from an anchor without all of them.

    A row's digest is the SHA-256 of its canonical values, then `prev_hmac` and `hmac`. The digests
    of 4096 rows are hashed together, and `settled` is SHA-256(settled ‖ that), 32 zero bytes in the
    beginning. The digest over all is SHA-256(settled ‖ SHA-256 of the digests since). So from an
    anchor's `settled` on, only the rows since its last full block are needed.
    """

    def __init__(self, settled: str | None = None, count: int = 0) -> None:
        """Begin; or go on from `settled` of an anchor, after `count` rows, a multiple of 4096."""
        self.count = count
        self._settled = bytes.fromhex(settled) if settled else bytes(_DIGEST_BYTES)
        self._open = sha256()

    def update(self, digests: bytes) -> None:
        """Add rows by their digests, 32 bytes each."""
        view, place = memoryview(digests), 0
        while place < len(digests):
            room = _BLOCK_BYTES - self.count % BLOCK_ROWS * _DIGEST_BYTES
            part = view[place : place + room]
            self._open.update(part)
            self.count += len(part) // _DIGEST_BYTES
            place += len(part)
            if len(part) == room:
                self._settled = sha256(self._settled + self._open.digest()).digest()
                self._open = sha256()

    @property
    def settled(self) -> str:
        """What can be gone on from, in hex."""
        return self._settled.hex()

    def hexdigest(self) -> str:
        """Return the digest over all rows so far."""
        return sha256(self._settled + self._open.digest()).hexdigest()
