"""Removing snapshots by hand, and concluding what a prune has begun.

What is gone, and why, goes to the ledger for good. So a snapshot that retention or a person has
removed is told from one that somebody has taken away.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alexandria_backup.errors import (
    LockedByAnotherRun,
    PrecheckRefused,
    SnapshotMissing,
    StorageError,
)
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.layout import SNAPSHOTS, Kind, manifest_name, parse
from alexandria_backup.repository.leases import Held, Purpose, all_leases, held
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.reserve import room_to_remove
from alexandria_backup.repository.retention import last_good
from alexandria_backup.repository.tombstones import Tombstone, found_tombstones


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What `snapshot delete` did."""

    snapshot: str
    reason: str
    #: False where its manifest was gone already, and only the ledger did not know why.
    was_there: bool
    #: Of the ledger, from now on.
    head: str


def delete_snapshot(
    repository: Repository, snapshot: str, reason: str, present: dict[str, int]
) -> Removed:
    """Remove one snapshot; what only it needs is swept by the next prune.

    `present` are the objects that were just listed. A snapshot that the ledger knows and that
    somebody has taken away is written down as removed. Raises SnapshotMissing, PrecheckRefused for
    the last good one, LockedByAnotherRun while it is read, WrongKey and StorageError.
    """
    repository.require_writable()
    with (
        room_to_remove(repository.store),
        held(repository.store, repository.id, Purpose.WRITE) as lease,
    ):
        leases = all_leases(repository.store, lease)
        entries = repository.snapshots.all()
        chosen = next((entry for entry in entries if entry.id == snapshot), None)
        if chosen is None:
            ledger = repository.ledger.read()
            if snapshot not in ledger.taken or snapshot in ledger.removed:
                raise _missing(repository, snapshot)
        else:
            _refuse_read(leases, snapshot)
            _refuse_last_good(entries, chosen, present)
        # First the reason, then the deed: a crash between them leaves a snapshot that can be
        # deleted again, and none that nobody can account for.
        head = repository.ledger.append(Action.DELETE, snapshots=(snapshot,), reason=reason)
        repository.store.delete(manifest_name(snapshot))
        repository.remember((head,))
    return Removed(snapshot=snapshot, reason=reason, was_there=chosen is not None, head=head)


def conclude_abandoned(repository: Repository, leases: Sequence[Held]) -> tuple[str, ...]:
    """Conclude every prune that nobody goes on with, and return the heads that this made.

    One whose lease may be live is left alone. A tombstone that cannot be read is taken away, too:
    nobody goes on with it, and it would hold up every snapshot.
    """
    if any(lease.may_be(Purpose.PRUNE) for lease in leases):
        return ()
    heads: list[str | None] = []
    for found in found_tombstones(repository.access):
        if isinstance(found.error, StorageError):
            # It may be a good one that could not be read just now.
            raise found.error
        if found.document is None:
            repository.store.delete(found.name)
        else:
            heads.append(conclude(repository, found.name, found.document))
    return tuple(head for head in heads if head)


def conclude(repository: Repository, name: str, tombstone: Tombstone) -> str | None:
    """Write down which snapshots a prune has removed, and take its tombstone away.

    `name` is the tombstone's own. Twice is fine. Returns the ledger's head where an entry was
    written.
    """
    there = _listed(repository)
    gone = {d.snapshot: d.reason for d in tombstone.snapshots if d.snapshot not in there}
    if gone:
        known = repository.ledger.read().removed
        gone = {snapshot: why for snapshot, why in gone.items() if snapshot not in known}
    head = record_prune(repository, tombstone.run, gone, {}) if gone else None
    repository.store.delete(name)
    return head


def record_prune(
    repository: Repository, run: str, removed: dict[str, str], details: dict[str, str]
) -> str:
    """Write down what a prune has removed, each snapshot with its rule; return the head."""
    head = repository.ledger.append(
        Action.PRUNE,
        snapshots=tuple(sorted(removed)),
        reason="retention",
        details={**details, **removed},
        run=run,
    )
    repository.remember((head,))
    return head


def _listed(repository: Repository) -> set[str]:
    parsed = (parse(info.name) for info in repository.store.list(SNAPSHOTS))
    return {name.key for name in parsed if name.kind is Kind.MANIFEST}


def _missing(repository: Repository, snapshot: str) -> SnapshotMissing:
    try:
        repository.snapshots.find(snapshot)
    except SnapshotMissing as error:
        return error
    return SnapshotMissing(f"`{snapshot}` was just stored; delete it again")


def _refuse_read(leases: Iterable[Held], snapshot: str) -> None:
    for lease in leases:
        read = lease.document.snapshot if lease.document else None
        if lease.may_be(Purpose.READ) and read in {None, snapshot}:
            raise LockedByAnotherRun(
                f"`{snapshot}` is in use by {lease.holder}", hint="wait until it has ended"
            )


def _refuse_last_good(
    entries: Sequence[SnapshotEntry], chosen: SnapshotEntry, present: dict[str, int]
) -> None:
    if chosen.id in {entry.id for entry in last_good(entries, present)}:
        raise PrecheckRefused(
            f"`{chosen.id}` is the last good snapshot of its database, and is never removed",
            hint="alexandria snapshot create   # then this one can go",
        )
