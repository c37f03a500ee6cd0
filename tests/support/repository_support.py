"""Repositories for tests: real ones in every respect but the database behind their snapshots."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from manifest_support import build_manifest

from alexandria_backup.repository.layout import OBJECTS, new_run_id, new_snapshot_id
from alexandria_backup.repository.making import make_repository
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import ArchivePart, StoredPart
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.opened import Repository, open_repository
from alexandria_backup.repository.trust import Keys, Pins
from alexandria_backup.repository.writing import Committed, Patience, SnapshotWriting, writing
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectStore

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = SigningKey.from_seed("ours.example", bytes(32))
STRANGER = SigningKey.from_seed("stranger.example", bytes([1]) * 32)
IDENTITY = Identity.generate()
SIGNED = Keys(trusted=(KEY.trusted,), signing=KEY)
SEALED = Keys(
    trusted=(KEY.trusted,),
    signing=KEY,
    recipients=(IDENTITY.recipient,),
    identities=(IDENTITY,),
)
#: Nobody is waited for.
AT_ONCE = Patience(seconds=0)


class Site:
    """A repository, and a machine that uses it."""

    def __init__(
        self,
        folder: Path,
        keys: Keys | None = None,
        store: ObjectStore | None = None,
        *,
        made: bool = True,
    ) -> None:
        self.keys = keys or Keys()
        self.store: ObjectStore = MemoryStore() if store is None else store
        self.pins = Pins(folder / "state")
        if made:
            make_repository(self.store, self.keys, self.pins)

    def repository(self, store: ObjectStore | None = None, keys: Keys | None = None) -> Repository:
        """Open the repository, as each command does."""
        return open_repository(store or self.store, keys or self.keys, self.pins)

    def snapshot(
        self,
        texts: Iterable[bytes] = (b"some rows",),
        *,
        created: datetime = NOON,
        store: ObjectStore | None = None,
        patience: Patience = AT_ONCE,
        **changes: object,
    ) -> Manifest:
        """Take a snapshot of a database that is dumped as these parts."""
        repository = self.repository(store)
        run = new_run_id("snapshot", created)
        with writing(repository, run, patience=patience) as work:
            manifest = manifest_of(repository, put(work, texts, repository), created, **changes)
            commit(work, manifest)
        return manifest

    def ids(self) -> list[str]:
        """Return the ids of all snapshots, oldest first."""
        return [entry.id for entry in self.repository().snapshots.all()]

    def objects(self) -> set[str]:
        """Return the names of all objects."""
        return {info.name for info in self.store.list(OBJECTS)}

    def names(self) -> set[str]:
        """Return all names but those of journals."""
        return {info.name for info in self.store.list()}

    def replace(self, name: str, data: bytes) -> None:
        """Do what nobody may: let an object have other bytes."""
        self.store.delete(name)
        self.store.put(name, data)

    def read(self, manifest: Manifest) -> bytes:
        """Read what a snapshot holds."""
        shelf = ObjectShelf(self.store, None)
        return b"".join(shelf.get(part, (IDENTITY,)) for part in manifest.archive.parts)


def put(
    work: SnapshotWriting, texts: Iterable[bytes], repository: Repository
) -> tuple[StoredPart, ...]:
    """Store parts as a worker does, and write them down."""
    shelf = ObjectShelf(
        repository.store, repository.sealing, present=work.present, known=work.known
    )
    parts = tuple(shelf.put(text) for text in texts)
    work.partials.write(parts)
    return parts


def commit(work: SnapshotWriting, manifest: Manifest) -> Committed:
    """Complete a snapshot, and expect that nothing was wrong."""
    committed = work.commit(manifest)
    assert committed.warnings == ()
    assert committed.head is not None
    return committed


def manifest_of(
    repository: Repository, parts: Sequence[StoredPart], created: datetime, **changes: object
) -> Manifest:
    """Return the manifest of a snapshot whose base archive has these parts."""
    raw = sum(part.raw_bytes for part in parts)
    archive = ArchivePart(
        name=None,
        bytes=raw,
        sha256=sha256(str(parts).encode()).hexdigest(),
        compression="none",
        encoding="UTF8",
        parts=tuple(parts),
    )
    fields: dict[str, object] = {
        "repository": repository.id,
        "snapshot": new_snapshot_id("shop", created),
        "created": created,
        "read_back": None,
        "archive": archive,
        "recipients": tuple(str(recipient) for recipient in repository.recipients),
    }
    return build_manifest(**{**fields, **changes})


def later(days: float) -> datetime:
    """Return a time some days after noon of the first day."""
    return NOON + timedelta(days=days)
