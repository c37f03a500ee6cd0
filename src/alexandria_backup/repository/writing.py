"""Writing a snapshot into a repository, safe beside a prune and beside other snapshots.

The runbook of `snapshot create` uses it so:

    with writing(repository, run) as work:
        shelf = ObjectShelf(store, repository.sealing, present=work.present, known=work.known)
        …                                  # take over a frame only if all its parts are `usable`
        work.partials.write(new_parts)     # every minute or so: what was really stored since
        …
        committed = work.commit(manifest)

Safety does not rest on the lease, which only keeps a prune from starting to sweep. It rests on an
order: the manifest is put, then the tombstones are listed, then the objects. A prune puts its
tombstone before it looks for manifests, and removes it after its last sweep. So whichever way the
two interleave, either the prune sees the manifest, or the snapshot sees the tombstone, or it sees
that an object is gone; then it takes its manifest back and fails, and nothing false is left.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from alexandria_backup.errors import AlexandriaError, SnapshotDamaged, StorageError
from alexandria_backup.repository.access import Found
from alexandria_backup.repository.layout import manifest_name, object_name
from alexandria_backup.repository.leases import LIFETIME, Lease, Purpose, all_leases, held
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.manifest import Manifest, encode
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.partials import (
    Partial,
    PartialWriter,
    found_partials,
    reusable,
)
from alexandria_backup.repository.removal import conclude_abandoned
from alexandria_backup.repository.results import bad_objects
from alexandria_backup.storage.store import ObjectStore

_AGAIN: Final = "alexandria snapshot create   # once the prune has ended"


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A snapshot that is complete."""

    snapshot: str
    #: The ledger's head from now on: print it. None where the entry could not be written.
    head: str | None
    #: What went wrong after the snapshot was complete, in one line each.
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the commit of a snapshot waits for a prune that is at work."""

    #: Seconds in all; longer than a lease lives, so that a killed prune is outlived.
    seconds: float = LIFETIME.total_seconds() + 300
    #: Seconds between two looks.
    pause: float = 5.0
    sleep: Callable[[float], None] = time.sleep

    def pauses(self) -> Iterator[float]:
        """Give the seconds to wait before each further look."""
        for _ in range(int(self.seconds // self.pause)):
            yield self.pause


class SnapshotWriting:
    """The work of one snapshot on a repository; see the module for the order of calls."""

    def __init__(
        self,
        repository: Repository,
        lease: Lease,
        run: str,
        *,
        present: Mapping[str, int],
        unsafe: frozenset[str],
        partials: tuple[Found[Partial], ...],
        patience: Patience,
    ) -> None:
        self._repository = repository
        self._lease = lease
        self._run = run
        self._unsafe = unsafe
        self._patience = patience
        self._found = partials
        recipients = [str(recipient) for recipient in repository.recipients]
        #: Objects that this run's listing found, by name, with their sizes; without those that a
        #: tombstone names or that an examination has found bad.
        self.present = {
            name: size for name, size in present.items() if name.rpartition("/")[2] not in unsafe
        }
        #: Parts that interrupted snapshots have stored, by raw digest, and that are there.
        self.known = {
            digest: part
            for digest, part in reusable(partials, recipients).items()
            if self.usable(part)
        }
        #: Writes down what this snapshot has stored so far.
        self.partials = PartialWriter(repository.access, run=run, recipients=recipients)

    def usable(self, part: StoredPart) -> bool:
        """Tell whether nothing objects to relying on a part; see `objection`."""
        return self.objection(part) is None

    def objection(self, part: StoredPart) -> str | None:
        """Say why a part's object must not be relied on; None where it may be.

        Whether its snapshot's recipients include all current ones, the caller compares.
        """
        if part.object in self._unsafe:
            return "its object was found bad, or is being removed"
        size = self.present.get(object_name(part.object))
        if size is None:
            return "its object is not there"
        return None if size == part.bytes else "its object has another size"

    def commit(self, manifest: Manifest) -> Committed:
        """Put the manifest, which makes it a snapshot, and make sure that it stays one.

        Raises SnapshotDamaged where a prune was removing what it names: the manifest is then taken
        back. Raises StorageError where the store fails before the snapshot is known to be whole.
        """
        name = manifest_name(manifest.snapshot)
        store = self._repository.store
        try:
            _put(store, name, encode(manifest, self._repository.key))
            lost = self._endangered(manifest.stored_parts())
        except BaseException:
            # Unsettled is as bad as lost: nobody has checked what it names.
            self._withdraw(name)
            raise
        if lost:
            self._withdraw(name)
            self._record_withdrawal(manifest.snapshot)
            raise SnapshotDamaged(
                f"a prune was removing objects that `{manifest.snapshot}` relies on, "
                f"such as `{object_name(lost[0].object)}`; its manifest was taken back",
                hint=_AGAIN,
            )
        return self._settled(manifest)

    def _endangered(self, parts: Iterable[StoredPart]) -> tuple[StoredPart, ...]:
        """Return the parts that a tombstone names, or whose objects are not there.

        Where all is there still, a prune is waited for: one that has not begun to sweep sees this
        run's lease and gives up, and one that was killed is concluded once its lease is over.
        """
        needed = {part.object: part for part in parts}
        for pause in (*self._patience.pauses(), None):
            doomed = {d for one in self._repository.tombstones() for d in one.tombstone.objects}
            # After the tombstones: one that was removed meanwhile has swept before this listing.
            present = objects_present(self._repository.store)
            gone = [p for p in needed.values() if present.get(object_name(p.object)) != p.bytes]
            named = [part for digest, part in needed.items() if digest in doomed]
            if gone or not named or pause is None:
                return (*gone, *named)
            self._patience.sleep(pause)
            leases = all_leases(self._repository.store, self._lease)
            conclude_abandoned(self._repository, leases)
        return ()

    def _settled(self, manifest: Manifest) -> Committed:
        warnings: list[str] = []
        head: str | None = None
        ledger = self._repository.ledger
        try:
            details = {"kind": manifest.kind.value, "application": manifest.application}
            head = ledger.append(
                Action.SNAPSHOT, snapshots=(manifest.snapshot,), details=details, run=self._run
            )
            self._repository.remember((head,))
        except AlexandriaError as error:
            warnings.append(f"the ledger has no entry of the snapshot: {error.message}")
        try:
            self._remove_partials()
        except AlexandriaError as error:
            warnings.append(f"partials were left: {error.message}")
        return Committed(snapshot=manifest.snapshot, head=head, warnings=tuple(warnings))

    def _remove_partials(self) -> None:
        """Remove this run's partials, and those found at its start that nobody goes on with."""
        self.partials.remove()
        others = all_leases(self._repository.store, self._lease)
        if any(lease.may_be(Purpose.WRITE) for lease in others):
            return
        for found in self._found:
            self._repository.store.delete(found.info.name)

    def _withdraw(self, name: str) -> None:
        try:
            self._repository.store.delete(name)
        except StorageError as error:
            raise StorageError(
                f"`{name}` could not be taken back, and objects that it names may go: "
                f"{error.message}",
                hint=f"remove `{name}` by hand",
            ) from error

    def _record_withdrawal(self, snapshot: str) -> None:
        self._repository.ledger.append(
            Action.WITHDRAWN,
            snapshots=(snapshot,),
            reason="a prune was removing objects that it relies on",
            run=self._run,
        )


_PATIENT: Final = Patience()


@contextmanager
def writing(
    repository: Repository, run: str, *, patience: Patience = _PATIENT
) -> Iterator[SnapshotWriting]:
    """Begin to write a snapshot: hold a lease, and find out what may be relied on.

    A prune that was killed and that nobody goes on with is concluded first, or what it doomed would
    stand in the way for ever; one that is at work is not waited for. Raises WrongKey where the keys
    at hand may not write, and StorageError.
    """
    repository.require_writable()
    with held(repository.store, repository.id, Purpose.WRITE) as lease:
        conclude_abandoned(repository, all_leases(repository.store, lease))
        tombstones = repository.tombstones()
        doomed = {digest for one in tombstones for digest in one.tombstone.objects}
        # After the tombstones, as in `commit`.
        present = objects_present(repository.store)
        yield SnapshotWriting(
            repository,
            lease,
            run,
            present=present,
            unsafe=frozenset(doomed | bad_objects(repository.results.all())),
            partials=found_partials(repository.access),
            patience=patience,
        )


def _put(store: ObjectStore, name: str, data: bytes) -> None:
    """Put, and read back where the answer was lost: the id is random, so it can only be ours."""
    try:
        store.put(name, data)
    except StorageError:
        if store.head(name) is None or store.get(name) != data:
            raise
