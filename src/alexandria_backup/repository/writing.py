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

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from alexandria_backup.errors import AlexandriaError, SnapshotDamaged, StorageError
from alexandria_backup.repository.layout import manifest_name, object_name
from alexandria_backup.repository.leases import Lease, Purpose, all_leases, held
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.manifest import Manifest, encode
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.partials import (
    FoundPartial,
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
        partials: tuple[FoundPartial, ...],
    ) -> None:
        self._repository = repository
        self._lease = lease
        self._run = run
        self._unsafe = unsafe
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
        self.partials = PartialWriter(
            repository.store, repository.id, repository.key, run=run, recipients=recipients
        )

    def usable(self, part: StoredPart) -> bool:
        """Tell whether a part's object is there with its size, is not doomed, was never bad.

        Whether its snapshot's recipients include all current ones, the caller compares.
        """
        return self.present.get(object_name(part.object)) == part.bytes

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
                f"a prune was removing {len(lost)} objects that `{manifest.snapshot}` relies on, "
                f"such as `{object_name(lost[0].object)}`; its manifest was taken back",
                hint=_AGAIN,
            )
        return self._settled(manifest)

    def _endangered(self, parts: Iterable[StoredPart]) -> tuple[StoredPart, ...]:
        """Return the parts that a tombstone names, or whose objects are not there."""
        tombstones = self._repository.tombstones()
        doomed = {digest for one in tombstones for digest in one.tombstone.objects}
        # After the tombstones: one that was removed meanwhile has swept before this listing.
        present = objects_present(self._repository.store)
        return tuple(
            part
            for part in parts
            if part.object in doomed or present.get(object_name(part.object)) != part.bytes
        )

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


@contextmanager
def writing(repository: Repository, run: str) -> Iterator[SnapshotWriting]:
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
            partials=found_partials(repository.store, repository.id, repository.trusted),
        )


def _put(store: ObjectStore, name: str, data: bytes) -> None:
    """Put, and read back where the answer was lost: the id is random, so it can only be ours."""
    try:
        store.put(name, data)
    except StorageError:
        if store.head(name) is None or store.get(name) != data:
            raise
