"""How raw bytes become the bytes of an object: compressed, sealed, opened again and compared."""

from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Final

from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.sealing.compression import compress, holds
from alexandria_backup.sealing.digests import keyed_blake3
from alexandria_backup.sealing.encryption import Identity, Recipient, seal, unseal


@dataclass(frozen=True, kw_only=True)
class PartSealing:
    """How raw bytes become the bytes of an object; picklable, and shows no key.

    Where there are recipients, each process adds an identity that lives in its memory alone: it can
    read back what it has stored itself, as long as it runs, and nothing else.
    """

    #: Who can read what is stored; empty in a repository that is not encrypted.
    recipients: tuple[Recipient, ...]
    #: Of `SigningKey.digest_key()`, or of `public_digest_key(repository)` where nobody signs.
    digest_key: bytes = field(repr=False)
    #: Of zstd.
    level: int = 1

    def sealed(self, raw: bytes) -> bytes:
        """Return the bytes to store.

        SnapshotDamaged where opening them again gives anything but `raw`: then the machine or a
        library is broken, and nothing may be stored.
        """
        compressed = compress(raw, self.level)
        if not self.recipients:
            stored = opened = compressed
        else:
            own = own_identity()
            stored = seal(compressed, (*self.recipients, own.recipient))
            opened = unseal(stored, (own,))
        if not holds(opened, raw):
            raise SnapshotDamaged(
                "what was compressed and sealed does not open to the same bytes again",
                hint="check this machine's memory, then take the snapshot again",
            )
        return stored

    def digest(self, raw: bytes) -> str:
        """Return the keyed digest of raw bytes."""
        return keyed_blake3(self.digest_key, raw)


def own_identity() -> Identity:
    """Return the identity of this process, which dies with it: one, whatever thread asks first."""
    with _choosing:
        return _generated()


_choosing: Final = Lock()


@cache
def _generated() -> Identity:
    return Identity.generate()
