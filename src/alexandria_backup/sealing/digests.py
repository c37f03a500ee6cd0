"""Digests: of bytes as they are stored, and of rows whatever their order."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from blake3 import blake3

#: Of the 64 hex digits of a keyed digest, how many name its key.
_KEY_ID_DIGITS: Final = 8
_KEY_ID_CONTEXT: Final = "alexandria-backup 2026-11-25 id of a digest key"
_PUBLIC_CONTEXT: Final = (
    "alexandria-backup 2026-11-25 digest key of a repository that is not signed"
)
_MODULUS_MASK: Final = (1 << 256) - 1
#: How much text is cut into rows at once.
_BITE_BYTES: Final = 256 * 1024


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


class RowSum:
    """A fingerprint of a multiset of rows, to be compared within this process and nowhere else.

    It is the number of rows and the sum of the interpreter's own hash of each: SipHash of 64 bits
    under a key that each process draws anew. It costs a quarter of a `RowDigest`, and nothing that
    is stored may rest on it. Equal sums mean what equal `RowDigest`s mean.
    """

    def __init__(self) -> None:
        #: Of the hashes of the rows.
        self.total = 0
        self._rest = b""
        #: Rows that were added whole.
        self.rows = 0

    def add_text(self, text: bytes) -> None:
        """Add rows of COPY text, cut anywhere: what follows goes on where this ends."""
        # Bit by bit, so that what is cut up stays in the processor's cache.
        for start in range(0, len(text), _BITE_BYTES):
            rows = (self._rest + text[start : start + _BITE_BYTES]).split(b"\n")
            self._rest = rows.pop()
            self.total += sum(map(hash, rows))
            self.rows += len(rows)

    def add(self, other: "RowSum") -> None:
        """Add the rows of another sum."""
        self.total += other.total
        self.rows += other.rows

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RowSum):
            return NotImplemented
        return (self.rows, self.total) == (other.rows, other.total)

    __hash__ = None  # type: ignore[assignment] # it changes


class KeyedDigest:
    """A BLAKE3 of raw bytes under a key, so that nobody without the key can confirm a guess.

    In hex it has 64 digits: eight that name the key, and the first 56 (224 bits) of the digest. So
    a reader who has another key can tell that it cannot compare, and takes nothing for damaged.
    """

    def __init__(self, key: bytes) -> None:
        self._key_id = key_id(key)
        self._digest = blake3(key=key)

    def update(self, data: bytes) -> None:
        """Add bytes; the division into calls does not matter."""
        self._digest.update(data)

    def hexdigest(self) -> str:
        """Return the digest of what was added so far."""
        return self._key_id + self._digest.hexdigest()[:-_KEY_ID_DIGITS]


def keyed_blake3(key: bytes, data: bytes) -> str:
    """Return the `KeyedDigest` of `data`, in hex."""
    digest = KeyedDigest(key)
    digest.update(data)
    return digest.hexdigest()


def key_id(key: bytes) -> str:
    """Return the eight hex digits that every digest under this key begins with."""
    return blake3(key, derive_key_context=_KEY_ID_CONTEXT).hexdigest()[:_KEY_ID_DIGITS]


def made_under(key: bytes, digest: str) -> bool:
    """Tell whether a keyed digest was made under this key, so that it can be compared."""
    return digest.startswith(key_id(key))


def derived_key(context: str, material: bytes) -> bytes:
    """Return a key of 32 bytes for one purpose, from which `material` cannot be found out.

    `context` names the purpose, once for all of the world (BLAKE3's key derivation mode).
    """
    return blake3(material, derive_key_context=context).digest()


def public_digest_key(repository: str) -> bytes:
    """Return the digest key of a repository that nobody signs: no secret, only apart from others.

    `repository` is its id.
    """
    return derived_key(_PUBLIC_CONTEXT, repository.encode())
