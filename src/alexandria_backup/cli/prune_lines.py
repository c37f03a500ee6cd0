"""What a prune would do, and did, as `--json` shows it."""

from dataclasses import dataclass

from alexandria_backup.repository.prune import Pruned
from alexandria_backup.repository.prune_plan import PrunePlan


@dataclass(frozen=True, kw_only=True)
class SnapshotLine:
    """One snapshot, and what keeps it."""

    id: str
    #: Names of rules, such as `daily 2026-11-23`; empty: it goes.
    kept_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlanLine:
    """What a prune would do."""

    rules: str
    snapshots: tuple[SnapshotLine, ...]
    #: How many of them go.
    removed: int
    #: Objects that nothing would need any more, and their bytes.
    objects: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class PruneLine:
    """What a prune did."""

    run: str
    #: Those that were removed, with the rule that the ledger keeps.
    snapshots: dict[str, str]
    #: Those that stayed because somebody reads them, or because they are needed by now.
    spared: tuple[str, ...]
    objects: int
    bytes: int
    #: Of the ledger; null where nothing was removed.
    head: str | None


def plan_line(planned: PrunePlan, rules: str) -> PlanLine:
    """Return the line of a plan."""
    return PlanLine(
        rules=rules,
        snapshots=tuple(
            SnapshotLine(id=verdict.entry.id, kept_by=verdict.reasons)
            for verdict in planned.verdicts
        ),
        removed=len(planned.removed),
        objects=len(planned.objects),
        bytes=planned.bytes,
    )


def prune_line(done: Pruned) -> PruneLine:
    """Return the line of a prune that was done."""
    return PruneLine(
        run=done.run,
        snapshots=done.snapshots,
        spared=done.spared,
        objects=done.objects,
        bytes=done.bytes,
        head=done.head,
    )
