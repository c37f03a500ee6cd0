"""What a prune would remove: worked out from complete listings, or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alexandria_backup.errors import PrecheckRefused, SnapshotDamaged, SnapshotMissing
from alexandria_backup.repository.access import Found
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.layout import SNAPSHOTS, Kind, parse
from alexandria_backup.repository.leases import Held
from alexandria_backup.repository.ledger import LedgerReport
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.partials import KEPT_FOR, Partial, found_partials
from alexandria_backup.repository.retention import KeepRules, Verdict, judge

#: Of leases that nobody has renewed.
_LEASES_KEPT_FOR: Final = timedelta(days=1)
_CHECK: Final = "alexandria repository check"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Everything that was listed and read, at one time; complete."""

    #: Oldest first; each has a manifest.
    entries: tuple[SnapshotEntry, ...]
    #: Objects by name, with their sizes.
    present: dict[str, int]
    #: Those that are young enough to be gone on with.
    partials: tuple[Found[Partial], ...]
    #: Names of those that are not.
    old_partials: tuple[str, ...]

    def needed(self, without: Iterable[str] = ()) -> set[str]:
        """Return the digests of all objects that a snapshot or a partial names.

        `without` are ids of snapshots that do not count.
        """
        gone = set(without)
        found = {
            part.object
            for entry in self.entries
            if entry.manifest is not None and entry.id not in gone
            for part in entry.manifest.stored_parts()
        }
        return found | {
            part.object
            for partial in self.partials
            if partial.document
            for part in partial.document.parts
        }


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """What a prune would do."""

    #: Each snapshot, oldest first, with the rules that keep it.
    verdicts: tuple[Verdict, ...]
    #: Objects that nothing would need any more: digests, with their sizes.
    objects: Mapping[str, int]
    #: Names of partials and leases that nobody goes on with.
    leftovers: tuple[str, ...]

    @property
    def removed(self) -> tuple[SnapshotEntry, ...]:
        """The snapshots that go."""
        return tuple(verdict.entry for verdict in self.verdicts if not verdict.is_kept)

    @property
    def bytes(self) -> int:
        """Of the objects that go."""
        return sum(self.objects.values())

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to do."""
        return not self.removed and not self.objects and not self.leftovers


def plan(
    repository: Repository, rules: KeepRules, *, now: datetime, leases: Sequence[Held]
) -> PrunePlan:
    """Work out what would go; nothing is changed. `now` is the store's time.

    Raises what `look` raises.
    """
    seen = look(repository, now=now)
    verdicts = judge(seen.entries, rules, present=seen.present)
    needed = seen.needed(without=[v.entry.id for v in verdicts if not v.is_kept])
    by_digest = {parse(name).key: size for name, size in seen.present.items()}
    old_leases = [lease.name for lease in leases if lease.age > _LEASES_KEPT_FOR]
    return PrunePlan(
        verdicts=verdicts,
        objects={d: size for d, size in by_digest.items() if d and d not in needed},
        leftovers=(*seen.old_partials, *old_leases),
    )


def look(repository: Repository, *, now: datetime, expected: Iterable[str] = ()) -> Seen:
    """List and read all that counts.

    Raises PrecheckRefused where nothing is there at all, SnapshotMissing where a snapshot is not
    listed that the ledger (or `expected`) knows, SnapshotDamaged for a manifest or a partial that
    cannot be read, and StorageError: nothing may be removed then.
    """
    partials = found_partials(repository.access)
    entries = _entries(repository)
    _refuse_absence(entries, repository.ledger.read(), expected)
    old = [found for found in partials if now - found.info.modified > KEPT_FOR]
    young = [found for found in partials if found not in old]
    for found in young:
        if found.document is None:
            raise SnapshotDamaged(
                f"`{found.info.name}` cannot be read, and what it names must not be removed: "
                f"{found.problem}",
                hint=f"remove `{found.info.name}` by hand if no snapshot is being taken",
            )
    return Seen(
        entries=entries,
        # Last: what is put meanwhile is then seen too late to be removed, never too early.
        present=objects_present(repository.store),
        partials=tuple(young),
        old_partials=tuple(found.info.name for found in old),
    )


def _entries(repository: Repository) -> tuple[SnapshotEntry, ...]:
    for info in repository.store.list(SNAPSHOTS):
        if parse(info.name).kind is not Kind.MANIFEST:
            raise SnapshotDamaged(
                f"`{info.name}` is not a name that this version gives to a manifest; "
                "nothing is removed while it is there",
                hint=_CHECK,
            )
    entries = repository.snapshots.all()
    for entry in entries:
        if entry.signed is None:
            raise SnapshotDamaged(
                f"the manifest of `{entry.id}` cannot be read, and what it needs must not be "
                f"removed: {entry.problem}",
                hint=_CHECK,
            )
    return entries


def _refuse_absence(
    entries: Sequence[SnapshotEntry], ledger: LedgerReport, expected: Iterable[str]
) -> None:
    """An absence is never a reason to delete."""
    if not entries:
        raise PrecheckRefused(
            "no snapshot is listed at all; nothing is removed on such a day",
            hint="alexandria snapshot create",
        )
    listed = {entry.id for entry in entries}
    lost = sorted({*ledger.taken, *expected} - {*ledger.removed} - listed)
    if lost:
        raise SnapshotMissing(
            f"`{lost[0]}` was completed and never removed, and is not listed"
            + (f", and {len(lost) - 1} more" if len(lost) > 1 else ""),
            hint=f"{_CHECK}   # if it is gone for good: alexandria snapshot delete {lost[0]}",
        )
