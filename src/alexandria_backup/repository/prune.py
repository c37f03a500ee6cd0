"""Prune: remove what no rule keeps and what nobody needs, and never anything else.

The order is what makes it safe, on stores that ignore preconditions, too:

1. hold a lease; list everything; plan, and show the plan;
2. put a tombstone that names what goes;
3. wait the grace, by the store's own clock;
4. list leases, manifests and partials again; go on only if nobody writes and nothing is unclear;
5. sweep, of what the tombstone names, what nothing names now: first manifests, then objects;
6. write the ledger entry; take the tombstone away.

A listing error, an empty listing, a manifest that cannot be read, and a snapshot that the ledger
knows and the listing does not, stop it: an absence is never a reason to delete. Whatever stops it
before step 5 takes the tombstone away and has changed nothing; after a SIGKILL the next prune or
snapshot concludes it. How a snapshot guards itself is told in `writing`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from alexandria_backup.errors import LockedByAnotherRun, StorageError, UsageError
from alexandria_backup.events import Emit, Progress
from alexandria_backup.repository.layout import new_run_id, object_name, tombstone_name
from alexandria_backup.repository.leases import Held, Lease, Purpose, all_leases, held, refuse_while
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.prune_plan import PrunePlan, look, plan
from alexandria_backup.repository.removal import conclude_abandoned
from alexandria_backup.repository.reserve import room_to_remove
from alexandria_backup.repository.retention import KeepRules, judge
from alexandria_backup.repository.sweep import Decided, Sweep
from alexandria_backup.repository.tombstones import FORM, Doomed, StandingTombstone, Tombstone

#: Seconds between two looks at the store's clock while the grace passes.
_TICK_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a prune did."""

    plan: PrunePlan
    run: str
    #: Snapshots that were removed, and the rule that went to the ledger.
    snapshots: dict[str, str]
    objects: int
    bytes: int
    #: Snapshots that the plan would have removed, and that are being read or are needed by now.
    spared: tuple[str, ...]
    #: Of the ledger; None where nothing was removed.
    head: str | None


def dry_run(repository: Repository, rules: KeepRules) -> PrunePlan:
    """Return what a prune would do, and change nothing; raises what `plan` raises."""
    _require_rules(rules)
    return plan(repository, rules, now=datetime.now(UTC), leases=())


def prune(
    repository: Repository,
    rules: KeepRules,
    *,
    grace: timedelta,
    confirm: Callable[[PrunePlan], None],
    emit: Emit,
    sleep: Callable[[float], None] = time.sleep,
) -> Pruned:
    """Remove what no rule keeps; `confirm` is shown the plan and raises to stop it.

    Raises UsageError where no rule is set, LockedByAnotherRun while somebody writes or prunes,
    WrongKey, SnapshotDamaged and its children, PrecheckRefused, and StorageError. Once the sweep
    has begun, an error leaves everything that is still named as it was.
    """
    _require_rules(rules)
    repository.require_writable()
    with (
        room_to_remove(repository.store),
        held(repository.store, repository.id, Purpose.PRUNE) as lease,
    ):
        leases = all_leases(repository.store, lease)
        _refuse_work(leases)
        conclude_abandoned(repository, leases)
        planned = plan(repository, rules, now=lease.put(), leases=leases)
        confirm(planned)
        run = new_run_id("prune", datetime.now(UTC))
        if planned.is_empty:
            return Pruned(
                plan=planned, run=run, snapshots={}, objects=0, bytes=0, spared=(), head=None
            )
        standing = _put_tombstone(repository, run, planned, rules)
        try:
            _wait(lease, standing.since, grace, emit, sleep)
            decided = _second_look(repository, lease, rules, planned, standing)
        except BaseException:
            repository.store.delete(standing.name)
            raise
        sweep = Sweep(repository, lease, planned, standing)
        head = sweep.carry_out(decided, emit)
        return Pruned(
            plan=planned,
            run=run,
            snapshots=sweep.snapshots,
            objects=sweep.objects,
            bytes=sweep.bytes,
            spared=decided.spared,
            head=head,
        )


def _require_rules(rules: KeepRules) -> None:
    if not rules.keeps_something:
        raise UsageError(
            "no rule says what to keep, and that could only mean: nothing",
            hint="set `prune.keep_daily` or another of them",
        )


def _refuse_work(leases: tuple[Held, ...]) -> None:
    refuse_while(leases, Purpose.WRITE, Purpose.PRUNE)
    for lease in leases:
        if lease.may_be(Purpose.READ) and not (lease.document and lease.document.snapshot):
            raise LockedByAnotherRun(
                f"the repository is being read by {lease.holder}", hint="wait until it has ended"
            )


def _put_tombstone(
    repository: Repository, run: str, planned: PrunePlan, rules: KeepRules
) -> StandingTombstone:
    tombstone = Tombstone(
        repository=repository.id,
        run=run,
        at=datetime.now(UTC),
        snapshots=tuple(
            Doomed(snapshot=entry.id, reason=f"kept by none of: {rules}")
            for entry in planned.removed
        ),
        objects=tuple(sorted(planned.objects)),
        bytes=planned.bytes,
    )
    name = tombstone_name(run)
    repository.store.put(name, FORM.encode(tombstone, repository.key))
    info = repository.store.head(name)
    if info is None:
        raise StorageError(f"`{name}` was just put, and is not there")
    return StandingTombstone(name=name, since=info.modified, tombstone=tombstone)


def _wait(
    lease: Lease,
    since: datetime,
    grace: timedelta,
    emit: Emit,
    sleep: Callable[[float], None],
) -> None:
    """Let the grace pass by the store's clock, which alone is the one of the tombstone."""
    while (rest := (since + grace - lease.put()).total_seconds()) > 0:
        whole = int(grace.total_seconds())
        emit(Progress(work="grace", done=max(0, whole - int(rest)), total=whole, unit="seconds"))
        sleep(min(rest, _TICK_S))


def _second_look(
    repository: Repository,
    lease: Lease,
    rules: KeepRules,
    planned: PrunePlan,
    standing: StandingTombstone,
) -> Decided:
    """List everything again, and decide what of the tombstone may really go.

    The rules are asked again: the snapshot that was the last good one may be so no longer.
    """
    leases = all_leases(repository.store, lease)
    _refuse_work(leases)
    now = lease.put()
    kept = [verdict.entry.id for verdict in planned.verdicts if verdict.is_kept]
    seen = look(repository, now=now, expected=kept)
    verdicts = judge(seen.entries, rules, present=seen.present)
    stay = {verdict.entry.id for verdict in verdicts if verdict.is_kept}
    read = {lease.document.snapshot for lease in leases if lease.document and lease.is_live}
    there = {entry.id for entry in seen.entries}
    doomed = [d for d in standing.tombstone.snapshots if d.snapshot in there]
    going = tuple(d for d in doomed if d.snapshot not in read | stay)
    needed = seen.needed(without=[one.snapshot for one in going])
    objects = tuple(
        digest
        for digest in standing.tombstone.objects
        if digest not in needed and object_name(digest) in seen.present
    )
    spared = tuple(d.snapshot for d in doomed if d not in going)
    return Decided(spared=spared, snapshots=going, objects=objects)
