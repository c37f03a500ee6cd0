from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_support import build_manifest
from repository_support import NOON, later

from alexandria_backup.repository.entries import SnapshotEntry, in_order
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.manifest import SignedManifest
from alexandria_backup.repository.manifest_parts import ArchivePart, SnapshotKind, StoredPart
from alexandria_backup.repository.retention import KeepRules, judge, last_good

DIGEST = "ab" * 32
PART = StoredPart(object=DIGEST, bytes=9, raw_bytes=5, raw_digest=DIGEST)
PRESENT = {object_name(DIGEST): 9}


def entry(created: datetime, name: str = "", **changes: object) -> SnapshotEntry:
    snapshot = name or f"shop-{created:%Y%m%dT%H%M%SZ}-aaaa"
    problem = changes.pop("problem", None)
    stored = changes.pop("stored", created)
    part = changes.pop("part", PART)
    archive = ArchivePart(
        name=None,
        bytes=5,
        sha256=DIGEST,
        compression="none",
        encoding="UTF8",
        parts=(part,),  # type: ignore[arg-type]
    )
    manifest = build_manifest(
        snapshot=snapshot,
        repository="0" * 32,
        archive=archive,
        created=created,
        read_back=None,
        **changes,
    )
    return SnapshotEntry(
        id=snapshot,
        archive=snapshot,
        bytes=9,
        signed=SignedManifest(manifest=manifest, signers=(), signed=False),
        problem=problem,  # type: ignore[arg-type]
        stored=stored,  # type: ignore[arg-type]
        examined="stored",
    )


def kept(entries: list[SnapshotEntry], rules: KeepRules) -> list[str]:
    verdicts = judge(entries, rules, present=PRESENT)
    return [verdict.entry.id for verdict in verdicts if verdict.is_kept]


def test_the_last_are_kept() -> None:
    entries = [entry(later(day)) for day in range(5)]
    assert kept(entries, KeepRules(last=2)) == [e.id for e in entries[3:]]


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        (KeepRules(daily=3), [29, 30, 30.5]),
        (KeepRules(weekly=2), [27, 30.5]),
        (KeepRules(monthly=3), [7, 30.5]),
        (KeepRules(yearly=3), [30.5]),
        (KeepRules(hourly=2), [30, 30.5]),
        (KeepRules(within=timedelta(days=1.5)), [29, 29.5, 30, 30.5]),
        (KeepRules(last=1, weekly=2, monthly=2), [7, 27, 30.5]),
    ],
)
def test_each_rule_keeps_the_newest_of_each_period(rules: KeepRules, days: list[float]) -> None:
    """Monday noon is the start; two snapshots a day, for a month, the last at a midnight."""
    entries = [entry(later(half / 2)) for half in range(62)]
    assert kept(entries, rules) == [entry(later(day)).id for day in days]


def test_a_server_that_was_years_ahead_once_displaces_no_snapshot() -> None:
    ahead = entry(later(4000), "shop-ahead-aaaa", stored=later(2))
    entries = [entry(later(1)), ahead, *(entry(later(day)) for day in (3, 4))]
    assert kept(entries, KeepRules(last=2)) == [e.id for e in entries[2:]]
    assert kept(entries, KeepRules(within=timedelta(days=2))) == [e.id for e in entries[1:]]
    assert [e.id for e in last_good(entries, PRESENT)] == [entries[3].id]
    assert [e.id for e in in_order(entries[::-1])] == [e.id for e in entries]


def test_what_is_young_is_so_by_the_newest_and_by_no_clock_of_today() -> None:
    """A prune on a machine that is years ahead finds the same to be young."""
    entries = [entry(later(day)) for day in range(10)]
    assert kept(entries, KeepRules(within=timedelta(days=3))) == [e.id for e in entries[6:]]


def test_each_kind_is_counted_on_its_own() -> None:
    kinds = [SnapshotKind.SCHEDULED, SnapshotKind.MANUAL, SnapshotKind.SAFETY]
    entries = [entry(later(day), f"shop-20261123T12000{day}Z-{kind.value[:4]}", kind=kind)
               for day in range(3) for kind in kinds]  # fmt: skip
    assert kept(entries, KeepRules(last=1)) == [e.id for e in entries[6:]]


def test_each_database_is_counted_on_its_own() -> None:
    names = ["one", "two"]
    entries = [entry(later(day), f"shop-20261123T12000{day}Z-{name}a", database_name=name)
               for day in range(3) for name in names]  # fmt: skip
    assert kept(entries, KeepRules(last=1)) == [e.id for e in entries[4:]]


def test_the_reasons_are_named() -> None:
    verdicts = judge([entry(NOON)], KeepRules(last=3, daily=1), present=PRESENT)
    assert verdicts[0].reasons == ("last 1 of 3", "daily 2026-11-23", "last good one")


class TestLastGood:
    def test_it_is_kept_whatever_the_rules_say(self) -> None:
        old, good = entry(NOON), entry(later(1))
        newest = entry(later(2), kind=SnapshotKind.SAFETY)
        assert kept([old, good, newest], KeepRules(within=timedelta(0))) == [good.id, newest.id]

    @pytest.mark.parametrize(
        "worse",
        [
            {"problem": "read back on a day: was altered"},
            {"part": PART.model_copy(update={"object": "cd" * 32})},
            {"part": PART.model_copy(update={"bytes": 8})},
        ],
    )
    def test_one_that_is_not_whole_is_none(self, worse: dict[str, object]) -> None:
        entries = [entry(NOON), entry(later(1), **worse)]
        assert [e.id for e in last_good(entries, PRESENT)] == [entries[0].id]
        assert entries[0].id in kept(entries, KeepRules(last=1))

    def test_where_there_is_none_nothing_goes(self) -> None:
        entries = [entry(later(day), problem="damaged") for day in range(3)]
        assert kept(entries, KeepRules(last=1)) == [e.id for e in entries]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20, unique=True), st.integers(0, 3),
       st.integers(0, 3), st.integers(0, 3))  # fmt: skip
def test_more_rules_never_keep_less(hours: list[int], last: int, daily: int, weekly: int) -> None:
    entries = [entry(later(hour / 24)) for hour in sorted(hours)]
    some = set(kept(entries, KeepRules(last=last, daily=daily)))
    assert some <= set(kept(entries, KeepRules(last=last, daily=daily, weekly=weekly)))
    assert entries[-1].id in some
    assert len(set(kept(entries, KeepRules(last=last)))) == max(1, min(last, len(entries)))


def test_rules_say_themselves() -> None:
    assert str(KeepRules(last=3, weekly=4, within=timedelta(days=2))) == (
        "last 3, weekly 4, within 2 days"
    )
    assert not KeepRules().keeps_something
    assert KeepRules(within=timedelta(0)).keeps_something
