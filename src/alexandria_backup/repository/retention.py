"""Which snapshots are kept: rules that count each kind on its own, and the last good one always."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import SnapshotKind


@dataclass(frozen=True, kw_only=True)
class KeepRules:
    """How many are kept, of each kind of each database; a snapshot is kept where any rule says so.

    `daily=7` keeps the newest snapshot of each of the newest seven days (UTC, by the database
    server's clock) that have one.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    #: All that are no older than that against the newest of their database: by no clock of today,
    #: which may be wrong, and also where no snapshot was taken for long. None: it keeps none.
    within: timedelta | None = None

    @property
    def keeps_something(self) -> bool:
        """Tell whether any rule is set."""
        return self.within is not None or any(count for _, count, _ in self._periods())

    def __str__(self) -> str:
        """Return the rules that are set, such as `last 3, daily 14`: what the ledger keeps."""
        counts = [f"{name} {count}" for name, count, _ in self._periods() if count]
        within = [f"within {self.within.days} days"] if self.within is not None else []
        return ", ".join((*counts, *within)) or "none"

    def _periods(self) -> tuple[tuple[str, int, Callable[[datetime], str]], ...]:
        """Return each counting rule: its name, how many, and what falls into one period."""
        return (
            ("last", self.last, lambda at: at.isoformat()),
            ("hourly", self.hourly, lambda at: f"{at:%Y-%m-%d %H}:00"),
            ("daily", self.daily, lambda at: f"{at:%Y-%m-%d}"),
            ("weekly", self.weekly, lambda at: f"{at:%G-W%V}"),
            ("monthly", self.monthly, lambda at: f"{at:%Y-%m}"),
            ("yearly", self.yearly, lambda at: f"{at:%Y}"),
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a snapshot is kept, and why."""

    entry: SnapshotEntry
    #: Names of the rules that keep it, such as `daily 2026-11-23`; empty: it goes.
    reasons: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Tell whether any rule keeps it."""
        return bool(self.reasons)


def judge(
    entries: Sequence[SnapshotEntry],
    rules: KeepRules,
    *,
    present: Mapping[str, int],
) -> tuple[Verdict, ...]:
    """Return what becomes of each snapshot, in the order of `entries`, which all have manifests.

    `present` are the objects that a listing has just found: the newest snapshot of a database that
    is not of kind `safety`, is not known to be damaged, and has all its objects there, is kept
    whatever the rules say. Where a database has no such one, all of its snapshots are kept.
    """
    reasons: dict[str, list[str]] = defaultdict(list)
    newest = {of: max(e.dated for e in group) for of, group in _grouped(entries, _database).items()}
    for of, group in _grouped(entries, lambda m: (*_database(m), m.kind.value)).items():
        for entry, reason in _kept(group, rules, newest[of[:-1]]):
            reasons[entry.id].append(reason)
    for entry in last_good(entries, present):
        reasons[entry.id].append("last good one")
    for group in _grouped(entries, _database).values():
        if not any(_is_good(entry, present) for entry in group):
            for entry in group:
                reasons[entry.id].append("its database has no good one")
    return tuple(Verdict(entry=entry, reasons=tuple(reasons[entry.id])) for entry in entries)


def last_good(
    entries: Sequence[SnapshotEntry], present: Mapping[str, int]
) -> tuple[SnapshotEntry, ...]:
    """Return the last good snapshot of each database that has one."""
    found = []
    for group in _grouped(entries, _database).values():
        good = [entry for entry in group if _is_good(entry, present)]
        found += [max(good, key=lambda entry: (entry.dated, entry.id))] if good else []
    return tuple(found)


def _kept(
    group: Sequence[SnapshotEntry], rules: KeepRules, newest: datetime
) -> Iterable[tuple[SnapshotEntry, str]]:
    newest_first = sorted(group, key=lambda entry: (entry.dated, entry.id), reverse=True)
    for name, count, period_of in rules._periods():  # noqa: SLF001 - of this module
        seen: set[str] = set()
        for entry in newest_first:
            period = entry.id if name == "last" else period_of(entry.dated)
            if len(seen) == count:
                break
            if period not in seen:
                seen.add(period)
                shown = f"{len(seen)} of {count}" if name == "last" else period
                yield entry, f"{name} {shown}"
    for entry in newest_first:
        if rules.within is not None and newest - entry.dated <= rules.within:
            yield entry, f"within {rules.within.days} days"


def _grouped(
    entries: Sequence[SnapshotEntry], key: Callable[[Manifest], tuple[str, ...]]
) -> dict[tuple[str, ...], list[SnapshotEntry]]:
    groups: dict[tuple[str, ...], list[SnapshotEntry]] = defaultdict(list)
    for entry in entries:
        if entry.manifest is not None:
            groups[key(entry.manifest)].append(entry)
    return groups


def _database(manifest: Manifest) -> tuple[str, ...]:
    return manifest.application, manifest.database.name


def _is_good(entry: SnapshotEntry, present: Mapping[str, int]) -> bool:
    manifest = entry.manifest
    return (
        entry.problem is None
        and manifest is not None
        and manifest.kind is not SnapshotKind.SAFETY
        and all(
            present.get(object_name(part.object)) == part.bytes for part in manifest.stored_parts()
        )
    )
