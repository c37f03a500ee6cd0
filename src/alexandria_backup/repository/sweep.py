"""The sweep of a prune: what was decided on goes, first manifests, then objects."""

import time
from dataclasses import dataclass
from typing import Final

from alexandria_backup.errors import LockedByAnotherRun
from alexandria_backup.events import Emit, Progress
from alexandria_backup.repository.layout import manifest_name, object_name
from alexandria_backup.repository.leases import Lease, Purpose, all_leases, refuse_while
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.prune_plan import PrunePlan
from alexandria_backup.repository.removal import conclude, record_prune
from alexandria_backup.repository.tombstones import Doomed, StandingTombstone

#: Seconds after which a sweep looks again whether its tombstone stands: the machine may have slept.
_LOOK_AGAIN_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What of a tombstone really goes, after the second look."""

    spared: tuple[str, ...]
    snapshots: tuple[Doomed, ...]
    objects: tuple[str, ...]


class Sweep:
    """One sweep, and what it has removed so far."""

    def __init__(
        self,
        repository: Repository,
        lease: Lease,
        planned: PrunePlan,
        standing: StandingTombstone,
    ) -> None:
        self._repository = repository
        self._lease = lease
        self._planned = planned
        self._standing = standing
        self._looked = time.time()
        self.snapshots: dict[str, str] = {}
        self.objects = 0
        self.bytes = 0

    def carry_out(self, decided: Decided, emit: Emit) -> str | None:
        """Remove it, and return the head; also after an error, what is gone is written down."""
        head: str | None = None
        try:
            self._remove(decided, emit)
        finally:
            if self.snapshots or self.objects:
                details = {"objects": str(self.objects), "bytes": str(self.bytes)}
                run = self._standing.tombstone.run
                head = record_prune(self._repository, run, self.snapshots, details)
            conclude(self._repository, self._standing.name, self._standing.tombstone)
        return head

    def _remove(self, decided: Decided, emit: Emit) -> None:
        store = self._repository.store
        for one in decided.snapshots:
            self._look_again()
            store.delete(manifest_name(one.snapshot))
            self.snapshots[one.snapshot] = one.reason
            self._forget_good_results(one.snapshot)
        for name in self._planned.leftovers:
            store.delete(name)
        for number, digest in enumerate(decided.objects, start=1):
            self._look_again()
            store.delete(object_name(digest))
            self.objects += 1
            self.bytes += self._planned.objects[digest]
            emit(Progress(work="sweep", done=number, total=len(decided.objects), unit="objects"))

    def _forget_good_results(self, snapshot: str) -> None:
        """Remove the good results of a snapshot that is gone; bad ones count for others, too."""
        for found in self._repository.results.about(snapshot):
            if found.document is not None and found.document.good:
                self._repository.store.delete(found.name)

    def _look_again(self) -> None:
        """Raise LockedByAnotherRun where this prune was concluded by somebody else meanwhile.

        A machine that has slept must not go on blindly. The clock is the one on the wall, which
        alone goes on while a machine sleeps.
        """
        if abs(time.time() - self._looked) < _LOOK_AGAIN_S:
            return
        leases = all_leases(self._repository.store, self._lease)
        if self._repository.store.head(self._standing.name) is None:
            raise LockedByAnotherRun(
                f"`{self._standing.tombstone.run}` was concluded by another run while it slept",
                hint="alexandria snapshot prune",
            )
        refuse_while(leases, Purpose.WRITE)
        self._looked = time.time()
