"""Objects: immutable stored bytes of at most 32 MiB, each named by its own SHA-256.

What goes in is compressed, sealed, opened again and compared before one request stores it, so that
neither a compressor nor a cipher can ruin a snapshot unseen. What comes out is checked at each of
these layers, and a mismatch says at which. Nothing here needs a temporary file, and an audit needs
no key: `sha256sum` of an object is its name.

For worker processes: `PartSealing` can be pickled, a store cannot; open one in each process, and
make an `ObjectShelf` of the two there. Threads may put on one shelf side by side.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple

from alexandria_backup.errors import (
    ObjectExists,
    ObjectMissing,
    SnapshotDamaged,
    StorageError,
    StoreDenied,
    StoreFull,
    StoreUnreachable,
    WrongKey,
)
from alexandria_backup.repository.layout import OBJECTS, object_name
from alexandria_backup.repository.manifest_parts import LARGEST_OBJECT_BYTES, StoredPart
from alexandria_backup.repository.part_sealing import PartSealing, own_identity
from alexandria_backup.sealing.compression import decompress
from alexandria_backup.sealing.digests import keyed_blake3, made_under
from alexandria_backup.sealing.encryption import HEADER, Identity, unseal
from alexandria_backup.storage.store import ObjectStore

#: How often a name is fought for with another writer before it counts as an error.
_TRIES: Final = 3
#: What says something of the way to the store, and nothing of the object.
_NOT_DAMAGE: Final = (StoreUnreachable, StoreDenied, StoreFull)
_HINT: Final = "alexandria snapshot create   # stores anew what is damaged or lost"


class OpenedPart(NamedTuple):
    """A part that was read and checked."""

    raw: bytes
    #: One whole zstd frame that holds `raw`, as it was stored.
    frame: bytes


class ObjectShelf:
    """The objects of a repository, as one process puts and gets them.

    `present` is what a listing of this run has found (name and size); without it the store is asked
    each time. `known` are parts that earlier snapshots or partials say are stored, by their raw
    digest: leave out every part that a verify has found bad, that lacks a current recipient, or
    that a tombstone names. Nothing is known in a `--full` run.
    """

    def __init__(
        self,
        store: ObjectStore,
        sealing: PartSealing | None,
        *,
        present: Mapping[str, int] | None = None,
        known: Mapping[str, StoredPart] | None = None,
    ) -> None:
        self._store = store
        self._sealing = sealing
        self._present = None if present is None else dict(present)
        self._known = dict(known or {})
        self._counting = Lock()
        #: Bytes that were really stored, and not there already.
        self.stored_bytes = 0

    def put(self, raw: bytes, *, anew: bool = False) -> StoredPart:
        """Store raw bytes, at most 32 MiB, and return where they are; whole, or not at all.

        Raw bytes that are known and present are not stored again, unless `anew` asks for it. An
        object of the same name is read back and compared, and replaced where it is damaged. Raises
        StorageError and, where the machine itself cannot be relied on, SnapshotDamaged.
        """
        if self._sealing is None or len(raw) > LARGEST_OBJECT_BYTES:
            raise ValueError("a shelf to put on has a sealing, and a part has at most 32 MiB")
        digest = self._sealing.digest(raw)
        known = None if anew else self._known.get(digest)
        if known is not None and known.raw_bytes == len(raw) and self.is_present(known):
            return known
        stored = self._sealing.sealed(raw)
        part = StoredPart(
            object=sha256(stored).hexdigest(),
            bytes=len(stored),
            raw_bytes=len(raw),
            raw_digest=digest,
        )
        name = object_name(part.object)
        if self._store_or_compare(name, stored):
            with self._counting:
                self.stored_bytes += len(stored)
        if self._present is not None:
            self._present[name] = len(stored)
        self._known[digest] = part
        return part

    def get(self, part: StoredPart, identities: Sequence[Identity] = ()) -> bytes:
        """Return the raw bytes of a part.

        SnapshotDamaged, which names the object, where it is missing or is not what `part` says;
        WrongKey where none of `identities`, nor this process's own, opens it; StorageError where
        the store fails. The raw digest is compared where this shelf has the key it was made under;
        the other checks rest on the signed manifest alone.
        """
        return self.get_both(part, identities).raw

    def get_both(self, part: StoredPart, identities: Sequence[Identity] = ()) -> OpenedPart:
        """Return the raw bytes of a part and the zstd frame they came from; checked as by `get`."""
        name = object_name(part.object)
        stored = self._read(name, part.bytes)
        if len(stored) > part.bytes:
            raise _damaged(name, f"has more than the {part.bytes:,} bytes that were stored")
        if len(stored) < part.bytes:
            raise _damaged(name, f"has {len(stored):,} bytes, and {part.bytes:,} were stored")
        if sha256(stored).hexdigest() != part.object:
            raise _damaged(name, "was altered: its SHA-256 is not its name")
        opened = self._opened(name, stored, part, identities)
        raw = opened.raw
        if len(raw) != part.raw_bytes:
            raise _damaged(name, f"holds {len(raw):,} bytes, and {part.raw_bytes:,} were stored")
        key = self._sealing.digest_key if self._sealing else None
        if key and made_under(key, part.raw_digest) and keyed_blake3(key, raw) != part.raw_digest:
            raise _damaged(name, "holds other bytes than its part describes")
        return opened

    def is_present(self, part: StoredPart) -> bool:
        """Tell whether an object of this part's name and size is there; nothing is read."""
        name = object_name(part.object)
        if self._present is not None:
            return self._present.get(name) == part.bytes
        info = self._store.head(name)
        return info is not None and info.size == part.bytes

    def is_intact(self, part: StoredPart) -> bool:
        """Read an object and tell whether it still has the bytes that its name says.

        That needs no key: what lies beneath was checked when it was stored. Raises StorageError
        where the store itself fails.
        """
        try:
            stored = self._read(object_name(part.object), part.bytes)
        except SnapshotDamaged:
            return False
        return len(stored) == part.bytes and sha256(stored).hexdigest() == part.object

    def _store_or_compare(self, name: str, stored: bytes) -> bool:
        """Tell whether it had to be stored, and was not there already."""
        for _ in range(_TRIES):
            try:
                self._store.put(name, stored)
            except ObjectExists:
                if self._holds(name, stored):
                    return False
                self._store.delete(name)
            else:
                return True
        raise StorageError(f"`{name}` keeps changing while it is stored", hint="look who writes it")

    def _holds(self, name: str, stored: bytes) -> bool:
        """Tell whether an object has exactly these bytes; one that cannot be read has not."""
        try:
            return self._store.get(name) == stored
        except _NOT_DAMAGE:
            raise
        except StorageError:
            return False

    def _read(self, name: str, size: int) -> bytes:
        """Read an object, and little more than its size where it has grown."""
        try:
            if self._present is not None and self._present.get(name) == size:
                return self._store.get(name)
            chunks: list[bytes] = []
            found = 0
            for chunk in self._store.read(name):
                chunks.append(chunk)
                found += len(chunk)
                if found > size:
                    break
            return b"".join(chunks)
        except ObjectMissing as error:
            raise _damaged(name, "is missing") from error

    def _opened(
        self, name: str, stored: bytes, part: StoredPart, identities: Sequence[Identity]
    ) -> OpenedPart:
        try:
            if stored.startswith(HEADER):
                stored = unseal(stored, (*identities, own_identity()))
            return OpenedPart(raw=decompress(stored, part.raw_bytes), frame=stored)
        except WrongKey as error:
            raise WrongKey(f"object `{name}`: {error.message}", hint=error.hint) from error
        except SnapshotDamaged as error:
            raise _damaged(name, f"cannot be opened: {error.message}") from error


def objects_present(store: ObjectStore) -> dict[str, int]:
    """List all objects by name, with their sizes. Raises StorageError."""
    return {info.name: info.size for info in store.list(OBJECTS)}


def _damaged(name: str, what: str) -> SnapshotDamaged:
    return SnapshotDamaged(f"object `{name}` {what}", hint=_HINT)
