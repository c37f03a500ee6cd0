"""A repository that was opened: the place, what it is, whom to believe, and what signs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

from alexandria_backup.errors import (
    LockedByAnotherRun,
    RepositoryInvalid,
    StorageError,
    StoreDenied,
    StoreFull,
)
from alexandria_backup.repository.access import Access
from alexandria_backup.repository.description import Description, read_description
from alexandria_backup.repository.first_use import newest_hints
from alexandria_backup.repository.layout import LEDGER, parse
from alexandria_backup.repository.leases import Purpose, held
from alexandria_backup.repository.ledger import Ledger
from alexandria_backup.repository.part_sealing import PartSealing
from alexandria_backup.repository.results import Results
from alexandria_backup.repository.snapshots import RepositorySnapshots
from alexandria_backup.repository.tombstones import StandingTombstone, standing
from alexandria_backup.repository.trust import Keys, Pins, Settled, pinned, settle
from alexandria_backup.sealing.digests import public_digest_key
from alexandria_backup.sealing.encryption import Recipient
from alexandria_backup.sealing.signing import SigningKey, TrustedKey
from alexandria_backup.storage.store import ObjectStore


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository, as this machine may use it; shared by threads, never by processes."""

    store: ObjectStore
    description: Description
    keys: Keys
    settled: Settled
    pins: Pins

    @property
    def id(self) -> str:
        """The repository's id."""
        return self.description.id

    @property
    def trusted(self) -> tuple[TrustedKey, ...]:
        """Whose signatures count; empty in a repository that is not signed."""
        return self.settled.trusted

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """To whom everything is sealed; empty in a repository that is not encrypted."""
        return self.settled.recipients

    @property
    def key(self) -> SigningKey | None:
        """What signs here."""
        return self.keys.signing

    @property
    def access(self) -> Access:
        """How signed documents are read and written here."""
        return Access(store=self.store, repository=self.id, trusted=self.trusted, key=self.key)

    @property
    def ledger(self) -> Ledger:
        """What happened here."""
        return Ledger(self.access)

    @property
    def results(self) -> Results:
        """What verify and drill found."""
        return Results(self.access)

    @property
    def snapshots(self) -> RepositorySnapshots:
        """The snapshots."""
        return RepositorySnapshots(
            store=self.store,
            repository=self.id,
            trusted=self.trusted,
            ledger=self.ledger,
            results=self.results,
            digest_key=self.digest_key,
        )

    @property
    def digest_key(self) -> bytes | None:
        """The key of the raw digests; None on a machine that has no key of a signed repository."""
        if self.key is not None:
            return self.key.digest_key()
        return None if self.trusted else public_digest_key(self.id)

    @property
    def sealing(self) -> PartSealing:
        """How raw bytes become objects here; raises WrongKey where nothing may be written."""
        self.require_writable()
        key = self.digest_key
        if key is None:
            raise RepositoryInvalid("the repository is signed, and no key is at hand")
        return PartSealing(recipients=self.recipients, digest_key=key)

    def require_writable(self) -> None:
        """Raise WrongKey where the keys at hand may not write here, with what to do."""
        if self.settled.refusal is not None:
            raise self.settled.refusal

    def tombstones(self) -> tuple[StandingTombstone, ...]:
        """Return what prunes are about to remove, oldest first; see `tombstones.standing`."""
        return standing(self.access)

    @contextmanager
    def reading(self, snapshot: str) -> Iterator[None]:
        """Hold a lease while a snapshot is read: by restore, verify, drill or export.

        Raises LockedByAnotherRun where a prune is about to remove it, and StorageError. Where this
        machine may read and not write (StoreDenied), or the disk is full (StoreFull), reading goes
        on without a lease: a restore must not wait for room.
        """
        with ExitStack() as stack:
            with suppress(StoreDenied, StoreFull):
                stack.enter_context(held(self.store, self.id, Purpose.READ, snapshot))
            for one in self.tombstones():
                if any(doomed.snapshot == snapshot for doomed in one.tombstone.snapshots):
                    raise LockedByAnotherRun(
                        f"`{snapshot}` is being removed by `{one.tombstone.run}`",
                        hint="alexandria snapshot list   # choose another",
                    )
            yield

    def remember(self, heads: tuple[str, ...]) -> None:
        """Keep the ledger's heads on this machine, so that a loss of the newest entries shows."""
        self.pins.write(pinned(self.store.url, self.id, self.recipients, self.trusted, heads))

    def lost_heads(self) -> tuple[str, ...]:
        """Return the heads that this machine remembers and that the store does not list."""
        remembered = self.settled.pin.heads
        if not remembered:
            return ()
        listed = {parse(info.name).key for info in self.store.list(LEDGER)}
        return tuple(head for head in remembered if head not in listed)


def no_repository(store: ObjectStore) -> RepositoryInvalid:
    """Return the error for a place that is none.

    One that holds files is not offered to be made a repository: that is refused.
    """
    files = False
    # A folder that is not there yet holds none.
    with suppress(StorageError):
        files = next(store.list(recursive=False), None) is not None
    return RepositoryInvalid(
        f"there is no repository in `{store.url}`"
        + (", which is a folder of files" if files else ""),
        hint="export ALEXANDRIA_REPOSITORY=…   # an empty place; then: alexandria repository init"
        if files
        else "alexandria repository init",
    )


def open_repository(store: ObjectStore, keys: Keys, pins: Pins) -> Repository:
    """Open the repository of a place, and pin on first use whom to believe.

    Raises RepositoryInvalid where there is none, where it cannot be read, or where another has
    taken the place of the one that this machine knows; StorageError.
    """
    description = read_description(store)
    if description is None:
        raise no_repository(store)
    pin = pins.read(store.url)
    doubt: str | None = None
    if pin is None and not keys.trusted:
        description, doubt = newest_hints(store, description)
    settled = settle(store.url, description, keys, pin, pins.path(store.url))
    if doubt is not None:
        settled = replace(settled, notes=(*settled.notes, doubt))
    if pin is None:
        pins.write(settled.pin)
    return Repository(store=store, description=description, keys=keys, settled=settled, pins=pins)


def is_repository(store: ObjectStore) -> bool:
    """Tell whether a place is a repository, also where it is one that cannot be read.

    Raises StorageError: a place that does not answer is neither.
    """
    try:
        return read_description(store) is not None
    except RepositoryInvalid:
        return True
