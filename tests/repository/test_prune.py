import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from repository_support import SEALED, SIGNED, Site, later, put

from alexandria_backup.errors import (
    AlexandriaError,
    LockedByAnotherRun,
    PrecheckRefused,
    SnapshotDamaged,
    SnapshotMissing,
    StorageError,
    StoreUnreachable,
    UsageError,
    WrongKey,
)
from alexandria_backup.events import Event, Progress, discard
from alexandria_backup.repository.layout import (
    LEASES,
    PARTIALS,
    SNAPSHOTS,
    TOMBSTONES,
    lease_name,
    manifest_name,
    object_name,
    partial_name,
    tombstone_name,
)
from alexandria_backup.repository.leases import Purpose, held
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.prune import Pruned, dry_run, prune
from alexandria_backup.repository.prune_plan import PrunePlan, plan
from alexandria_backup.repository.removal import delete_snapshot
from alexandria_backup.repository.retention import KeepRules
from alexandria_backup.repository.trust import Keys
from alexandria_backup.repository.writing import Patience, writing
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb
from alexandria_backup.storage.store import ObjectStore

RUN = "snapshot-20261123T120000Z-k3x9"
LAST_ONE = KeepRules(last=1)
AT_ONCE = timedelta(0)


def pruned(
    site: Site,
    rules: KeepRules = LAST_ONE,
    *,
    store: ObjectStore | None = None,
    grace: timedelta = AT_ONCE,
    confirm: Callable[[PrunePlan], None] = lambda _: None,
    sleep: Callable[[float], None] = lambda _: None,
) -> Pruned:
    return prune(
        site.repository(store), rules, grace=grace, confirm=confirm, emit=discard, sleep=sleep
    )


@pytest.fixture(params=[Keys(), SEALED], ids=["plain", "sealed"])
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def test_what_no_rule_keeps_goes_with_what_only_it_needs(any_site: Site) -> None:
    old = any_site.snapshot([b"old", b"shared"])
    new = any_site.snapshot([b"shared", b"new"], created=later(1))
    done = pruned(any_site)
    assert list(done.snapshots) == [old.snapshot]
    assert any_site.ids() == [new.snapshot]
    assert any_site.read(new) == b"sharednew"
    assert any_site.objects() == {object_name(part.object) for part in new.archive.parts}


def test_the_ledger_keeps_the_rule_and_this_machine_the_head(any_site: Site) -> None:
    old, _ = any_site.snapshot(), any_site.snapshot(created=later(1))
    done = pruned(any_site)
    repository = any_site.repository()
    report = repository.ledger.read()
    entry = report.removed[old.snapshot]
    assert report.problems == ()
    assert (entry.action, entry.run) == (Action.PRUNE, done.run)
    assert entry.details[old.snapshot] == "kept by none of: last 1"
    assert repository.settled.pin.heads == report.heads == (done.head,)
    with pytest.raises(SnapshotMissing, match=r"removed by prune on .* kept by none of: last 1"):
        repository.snapshots.find(old.snapshot)


def test_nothing_of_the_prune_is_left(any_site: Site) -> None:
    any_site.snapshot(), any_site.snapshot(created=later(1))
    pruned(any_site)
    kinds = {name.partition("/")[0] for name in any_site.names()}
    assert kinds == {"repository.json", "objects", "snapshots", "ledger"}


def test_twice_does_nothing_more(any_site: Site) -> None:
    any_site.snapshot(), any_site.snapshot(created=later(1))
    pruned(any_site)
    before = any_site.names()
    assert pruned(any_site).head is None
    assert any_site.names() == before


def test_a_dry_run_changes_nothing(any_site: Site) -> None:
    old, _ = any_site.snapshot([b"old"]), any_site.snapshot(created=later(1))
    before = any_site.names()
    planned = dry_run(any_site.repository(), LAST_ONE)
    assert [entry.id for entry in planned.removed] == [old.snapshot]
    assert set(planned.objects) == {old.archive.parts[0].object}
    assert any_site.names() == before


def test_objects_that_nobody_names_go(site: Site) -> None:
    site.snapshot([b"some"])
    orphan = object_name("ab" * 32)
    site.store.put(orphan, b"orphan")
    done = pruned(site)
    assert (done.objects, done.bytes, done.snapshots) == (1, 6, {})
    assert orphan not in site.objects()


def test_what_an_unfinished_snapshot_has_stored_stays(site: Site) -> None:
    site.snapshot()
    repository = site.repository()
    with suppress(KeyboardInterrupt), writing(repository, RUN) as work:
        put(work, [b"unfinished"], repository)
        raise KeyboardInterrupt
    before = site.objects()
    pruned(site)
    assert site.objects() == before


def test_without_a_rule_nothing_goes(site: Site) -> None:
    site.snapshot()
    with pytest.raises(UsageError, match="no rule"):
        pruned(site, KeepRules())


def test_a_machine_without_the_signing_key_does_not_prune(tmp_path: Path) -> None:
    site = Site(tmp_path, SIGNED)
    site.snapshot()
    site.keys = Keys(trusted=SIGNED.trusted)
    with pytest.raises(WrongKey, match="no signing key"):
        pruned(site)


def test_who_says_no_has_changed_nothing(site: Site) -> None:
    site.snapshot(), site.snapshot(created=later(1))
    before = site.names()

    def refuse(planned: PrunePlan) -> None:
        assert len(planned.removed) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruned(site, confirm=refuse)
    assert site.names() == before


class TestAbsenceIsNoReason:
    """What makes a listing look shorter than it is, must not make anything go."""

    def test_an_empty_listing(self, site: Site) -> None:
        site.store.put(object_name("ab" * 32), b"object")
        with pytest.raises(PrecheckRefused, match="no snapshot is listed"):
            pruned(site)
        assert len(site.objects()) == 1

    def test_a_listing_that_lacks_one(self, any_site: Site) -> None:
        manifest = any_site.snapshot([b"one"])
        any_site.snapshot([b"two"], created=later(1))
        any_site.store.delete(manifest_name(manifest.snapshot))
        with pytest.raises(SnapshotMissing, match="was completed and never removed") as caught:
            pruned(any_site)
        assert manifest.snapshot in str(caught.value)
        assert len(any_site.objects()) == 2

    @pytest.mark.parametrize("call", range(1, 25))
    def test_a_listing_that_ends_early_without_a_word(self, site: Site, call: int) -> None:
        manifests = [site.snapshot([text], created=later(day))
                     for day, text in enumerate([b"one", b"two", b"three"])]  # fmt: skip
        liar = FaultyStore(site.store, [Fault(verb="list", how=How.SHORT, call=call)])
        with suppress(AlexandriaError):
            pruned(site, KeepRules(last=2), store=liar)
        for manifest, text in zip(manifests[1:], [b"two", b"three"], strict=True):
            assert site.read(manifest) == text
        assert set(site.ids()) >= {manifest.snapshot for manifest in manifests[1:]}

    def test_a_manifest_that_cannot_be_read(self, any_site: Site) -> None:
        manifest = any_site.snapshot([b"one"])
        any_site.snapshot([b"two"], created=later(1))
        any_site.replace(manifest_name(manifest.snapshot), b"damaged")
        with pytest.raises(SnapshotDamaged, match="cannot be read, and what it needs"):
            pruned(any_site)
        assert len(any_site.objects()) == 2

    def test_a_name_among_the_manifests_that_is_not_understood(self, site: Site) -> None:
        site.snapshot()
        site.store.put(f"{SNAPSHOTS}of-a-newer-version.manifest2", b"")
        with pytest.raises(SnapshotDamaged, match="not a name that this version gives"):
            pruned(site)

    def test_a_partial_that_cannot_be_read(self, site: Site) -> None:
        site.snapshot()
        site.store.put(partial_name(RUN, 1), b"damaged")
        with pytest.raises(SnapshotDamaged, match="cannot be read"):
            pruned(site)

    def test_one_that_was_deleted_by_hand_can_be_written_off(self, site: Site) -> None:
        manifest = site.snapshot([b"one"])
        site.snapshot([b"two"], created=later(1))
        site.store.delete(manifest_name(manifest.snapshot))
        present = objects_present(site.store)
        removed = delete_snapshot(site.repository(), manifest.snapshot, "a mistake", present)
        assert not removed.was_there
        pruned(site)
        assert len(site.objects()) == 1


@pytest.mark.parametrize("data", [b"", b"damaged", b"{}"])
def test_a_tombstone_that_cannot_be_read_holds_nobody_up(site: Site, data: bytes) -> None:
    site.snapshot(), site.snapshot(created=later(1))
    site.store.put(tombstone_name("prune-20261123T120000Z-k3x9"), data)
    with (
        held(site.store, site.repository().id, Purpose.PRUNE),
        pytest.raises(SnapshotDamaged, match="tombstones/"),
    ):
        site.snapshot(created=later(2))
    site.snapshot(created=later(2))
    assert len(pruned(site).snapshots) == 2
    assert [*site.store.list(TOMBSTONES)] == []


class TestTheLastGoodOne:
    def test_it_stays_whatever_the_rules_say(self, site: Site) -> None:
        site.snapshot([b"old"])
        good = site.snapshot([b"good"], created=later(0.5))
        newest = site.snapshot([b"safety"], created=later(1), kind=SnapshotKind.SAFETY)
        pruned(site, KeepRules(within=AT_ONCE))
        assert site.ids() == [good.snapshot, newest.snapshot]

    def test_a_clock_that_is_years_ahead_takes_nothing(self, site: Site) -> None:
        snapshots = [site.snapshot([b"%d" % day], created=later(day / 4)) for day in range(4)]
        ahead = datetime.now(UTC) + timedelta(days=4000)
        rules = KeepRules(within=timedelta(days=1))
        planned = plan(site.repository(), rules, now=ahead, leases=())
        assert [one.entry.id for one in planned.verdicts if one.is_kept] == [
            snapshot.snapshot for snapshot in snapshots
        ]
        assert planned.objects == {}

    def test_one_with_a_missing_object_is_not_it(self, site: Site) -> None:
        good = site.snapshot([b"good"])
        broken = site.snapshot([b"broken"], created=later(1))
        site.store.delete(object_name(broken.archive.parts[0].object))
        pruned(site)
        assert site.ids() == [good.snapshot, broken.snapshot]

    def test_it_becomes_it_while_the_grace_passes(self, site: Site) -> None:
        """The one that was the last good one when it was planned is damaged during the grace."""
        old, new = site.snapshot([b"old"]), site.snapshot([b"new"], created=later(1))

        def damage(_: float) -> None:
            site.store.delete(object_name(new.archive.parts[0].object))

        done = pruned(site, grace=timedelta(milliseconds=50), sleep=damage)
        assert done.spared == (old.snapshot,)
        assert site.read(old) == b"old"

    def test_where_none_is_left_during_the_grace_nothing_goes(self, site: Site) -> None:
        old, new = site.snapshot([b"old"]), site.snapshot([b"new"], created=later(1))

        def lose(_: float) -> None:
            for name in site.objects():
                site.store.delete(name)

        done = pruned(site, grace=timedelta(milliseconds=50), sleep=lose)
        assert done.spared == (old.snapshot,)
        assert site.ids() == [old.snapshot, new.snapshot]


class TestBesideOthers:
    @pytest.mark.parametrize("purpose", [Purpose.WRITE, Purpose.PRUNE])
    def test_it_waits_for_who_writes(self, any_site: Site, purpose: Purpose) -> None:
        any_site.snapshot(), any_site.snapshot(created=later(1))
        with (
            held(any_site.store, any_site.repository().id, purpose),
            pytest.raises(LockedByAnotherRun, match="in use by process"),
        ):
            pruned(any_site)
        assert len(any_site.ids()) == 2

    def test_a_lease_that_cannot_be_read_counts(self, site: Site) -> None:
        site.snapshot()
        site.store.put(lease_name("0" * 36), b"?")
        with pytest.raises(LockedByAnotherRun, match="cannot be read"):
            pruned(site)

    def test_who_begins_to_write_during_the_grace_is_waited_for(self, site: Site) -> None:
        site.snapshot([b"old"]), site.snapshot(created=later(1))
        before = site.names()
        with held(site.store, site.repository().id, Purpose.WRITE) as writer:
            writer.drop()
            with pytest.raises(LockedByAnotherRun):
                pruned(
                    site, grace=timedelta(milliseconds=50), sleep=lambda _: writer.put() and None
                )
        assert site.names() == before

    def test_a_snapshot_that_is_read_is_spared(self, site: Site) -> None:
        old, older = site.snapshot([b"old"]), site.snapshot([b"older"], created=later(-1))
        site.snapshot([b"new"], created=later(1))
        with site.repository().reading(old.snapshot):
            done = pruned(site)
        assert (done.spared, list(done.snapshots)) == ((old.snapshot,), [older.snapshot])
        assert site.read(old) == b"old"

    def test_one_that_is_being_removed_is_not_read(self, site: Site) -> None:
        old, _ = site.snapshot(), site.snapshot(created=later(1))

        def read(_: float) -> None:
            with (
                pytest.raises(LockedByAnotherRun, match="is being removed"),
                site.repository().reading(old.snapshot),
            ):
                pass

        pruned(site, grace=timedelta(milliseconds=50), sleep=read)

    def test_what_a_snapshot_takes_up_during_the_grace_stays(self, any_site: Site) -> None:
        """A snapshot begins while a prune waits: the prune gives way, and all is whole."""
        any_site.snapshot([b"old"])
        any_site.snapshot([b"new"], created=later(1))
        taken: list[Future[Manifest]] = []

        def take(_: float) -> None:
            if not taken:
                patience = Patience(pause=0.01)
                taken.append(threads.submit(any_site.snapshot, [b"old"], patience=patience))
                while not any(True for _ in any_site.store.list(LEASES)) or len(any_site.ids()) < 3:
                    if taken[0].done():
                        break

        with ThreadPoolExecutor(1) as threads:
            with suppress(LockedByAnotherRun):
                pruned(any_site, grace=timedelta(milliseconds=50), sleep=take)
            assert any_site.read(taken[0].result()) == b"old"
        for entry in any_site.repository().snapshots.all():
            assert entry.manifest
            assert any_site.read(entry.manifest) in {b"old", b"new"}

    def test_a_snapshot_that_nobody_saw_takes_its_manifest_back(self, site: Site) -> None:
        """Its machine slept through its lease; it must not rely on what is doomed."""
        site.snapshot([b"old"])
        new = site.snapshot([b"new"], created=later(1))

        def take(_: float) -> None:
            with pytest.raises(SnapshotDamaged, match="taken back"):
                site.snapshot([b"old"], created=later(2))

        pruned(site, grace=timedelta(milliseconds=50), sleep=take)
        assert site.ids() == [new.snapshot]


class TestAsleep:
    """A machine sleeps in the middle of its sweep, and wakes an hour later."""

    def sweep(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]
    ) -> None:
        for day in range(4):
            site.snapshot([b"%d" % day], created=later(day))
        asleep = [0.0]
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + asleep[0])

        def doze(event: Event) -> None:
            if isinstance(event, Progress) and event.work == "sweep" and not asleep[0]:
                asleep[0] = 3600.0
                meanwhile()

        prune(site.repository(), LAST_ONE, grace=AT_ONCE, confirm=lambda _: None, emit=doze)

    def test_it_goes_on_where_nobody_concluded_it(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.sweep(site, monkeypatch, lambda: None)
        assert len(site.objects()) == 1

    def test_it_stops_where_somebody_did(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        def conclude() -> None:
            for info in site.store.list(TOMBSTONES):
                site.store.delete(info.name)

        with pytest.raises(LockedByAnotherRun, match="was concluded by another run"):
            self.sweep(site, monkeypatch, conclude)
        assert len(site.objects()) == 3
        assert_accounted_for(site)

    def test_it_stops_where_somebody_writes_by_now(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ExitStack() as stack:

            def write() -> None:
                stack.enter_context(held(site.store, site.repository().id, Purpose.WRITE))

            with pytest.raises(LockedByAnotherRun, match="in use by"):
                self.sweep(site, monkeypatch, write)
        assert len(site.objects()) == 3
        assert_accounted_for(site)


class TestGrace:
    def test_it_passes_by_the_store_s_clock(self, site: Site) -> None:
        site.snapshot(), site.snapshot(created=later(1))
        naps: list[float] = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            assert len([*site.store.list(TOMBSTONES)]) == 1
            assert len(site.ids()) == 2
            if len(naps) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pruned(site, grace=timedelta(hours=1), sleep=nap)
        assert len(site.ids()) == 2
        assert [*site.store.list(TOMBSTONES)] == []


VERBS: list[Verb] = ["put", "get", "head", "list", "delete"]


@pytest.mark.parametrize("how", [How.BEFORE, How.AFTER, How.MIDDLE])
@pytest.mark.parametrize("verb", VERBS)
def test_a_fault_of_any_call_leaves_what_is_kept_whole(
    tmp_path: Path, verb: Verb, how: How
) -> None:
    """Every call of every verb fails once, in turn, until a prune gets by without meeting it."""
    for call in range(1, 200):
        site = Site(tmp_path / str(call))
        site.snapshot([b"old", b"shared"])
        new = site.snapshot([b"shared", b"new"], created=later(1))
        broken = FaultyStore(site.store, [Fault(verb=verb, how=how, call=call)])
        with suppress(StorageError, SnapshotDamaged):
            pruned(site, store=broken)
        met = broken.calls[verb] >= call
        assert site.read(new) == b"sharednew"
        assert_accounted_for(site)
        end_leases(site)
        pruned(site)
        assert site.ids() == [new.snapshot]
        assert len(site.objects()) == 2
        assert_accounted_for(site)
        if not met:
            return
    pytest.fail("the fault never missed")


def end_leases(site: Site) -> None:
    """Let a lease that could not be taken away be over, as it is after a while."""
    for info in site.store.list(LEASES):
        site.store.delete(info.name)


def assert_accounted_for(site: Site) -> None:
    """Whatever is gone, the ledger says why, or a tombstone does that still stands."""
    ledger = site.repository().ledger.read()
    standing = {doomed.snapshot for one in site.repository().tombstones()
                for doomed in one.tombstone.snapshots}  # fmt: skip
    gone = set(ledger.taken) - set(site.ids())
    assert gone <= set(ledger.removed) | standing
    assert ledger.problems == ()


def test_a_store_that_is_away_is_not_empty(site: Site) -> None:
    site.snapshot(), site.snapshot(created=later(1))
    broken = FaultyStore(site.store, [Fault(verb="list", how=How.MIDDLE, call=0)])
    with pytest.raises(StoreUnreachable):
        pruned(site, store=broken)
    assert len(site.ids()) == 2


def test_five_thousand_objects(site: Site) -> None:
    site.snapshot()
    for number in range(5000):
        site.store.put(object_name(f"{number:064x}"), b"x")
    assert pruned(site).objects == 5000
    assert len(site.objects()) == 1


def test_old_leftovers_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.snapshot()
    repository = site.repository()
    with suppress(KeyboardInterrupt), writing(repository, RUN) as work:
        put(work, [b"unfinished"], repository)
        raise KeyboardInterrupt
    monkeypatch.setattr("alexandria_backup.repository.prune_plan.KEPT_FOR", timedelta(0))
    assert pruned(site).objects == 1
    assert [*site.store.list(PARTIALS)] == []
