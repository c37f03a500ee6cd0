"""One suite over every kind of store: a repository's whole life, faults, thousands of objects."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from repository_support import AT_ONCE, SEALED, Site, later, manifest_of, put
from store_places import Place

from alexandria_backup.errors import (
    LockedByAnotherRun,
    SnapshotDamaged,
    StorageError,
    StoreUnreachable,
)
from alexandria_backup.events import discard
from alexandria_backup.repository.checking import check
from alexandria_backup.repository.examining import examine
from alexandria_backup.repository.layout import LEASES, TOMBSTONES, object_name
from alexandria_backup.repository.making import make_repository
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.prune import prune
from alexandria_backup.repository.retention import KeepRules
from alexandria_backup.repository.writing import writing
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.retry import RetryingStore
from alexandria_backup.storage.store import ObjectStore

LAST_ONE = KeepRules(last=1)
GRACE = timedelta(seconds=0)
VERBS: list[Verb] = ["put", "get", "head", "list", "delete"]


@pytest.fixture
def life(tmp_path: Path, store: ObjectStore) -> Site:
    return Site(tmp_path, SEALED, store)


def pruned(site: Site, store: ObjectStore | None = None) -> None:
    prune(site.repository(store), LAST_ONE, grace=GRACE, confirm=lambda _: None, emit=discard)


def test_a_whole_life(life: Site) -> None:
    assert not make_repository(life.store, SEALED, life.pins).created
    old = life.snapshot([b"old", b"shared"])
    new = life.snapshot([b"new", b"shared"], created=later(1))
    repository = life.repository()
    entry = repository.snapshots.latest(application="shop", database="shop")
    assert entry.manifest == new
    examined = examine(repository, entry)
    assert (examined.objects, examined.bad, examined.recorded) == (2, (), True)
    pruned(life)
    assert life.ids() == [new.snapshot]
    assert life.read(new) == b"newshared"
    report = check(life.repository(), now=datetime.now(UTC), deep=True, emit=discard)
    assert (report.findings, report.objects, report.read) == ((), 2, 2)
    assert old.snapshot in life.repository().ledger.read().removed


def test_leases_are_as_old_as_the_store_says(life: Site) -> None:
    """On a store with a clock of whole seconds, too, nobody is taken for dead or for older."""
    with life.repository().reading("shop-20261123T120000Z-k3x9"):
        (info,) = life.store.list(LEASES)
        assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=5)


def test_a_running_snapshot_is_waited_for(life: Site) -> None:
    life.snapshot([b"old"]), life.snapshot([b"new"], created=later(1))
    run = "snapshot-20261123T120000Z-k3x9"
    with (
        writing(life.repository(), run, patience=AT_ONCE),
        pytest.raises(LockedByAnotherRun),
    ):
        pruned(life)
    assert len(life.ids()) == 2
    assert [*life.store.list(TOMBSTONES)] == []


def test_a_fault_that_passes_is_not_noticed(life: Site) -> None:
    """With retries around it, a snapshot and a prune get by, whichever verb it is."""
    for day, (verb, how) in enumerate(product(VERBS, (How.BEFORE, How.AFTER))):
        broken = FaultyStore(life.store, [Fault(verb=verb, how=how, call=2)])
        patient = RetryingStore(broken, sleep=lambda _: None)
        manifest = life.snapshot([b"text"], created=later(day), store=patient)
        pruned(life, patient)
        assert life.ids() == [manifest.snapshot]
        assert life.read(manifest) == b"text"


def test_a_fault_that_stays_leaves_earlier_snapshots_whole(life: Site) -> None:
    before = life.snapshot([b"earlier"])
    for verb, first in product(VERBS, (1, 3)):
        faults = [Fault(verb=verb, how=How.BEFORE, call=n) for n in range(first, first + 50)]
        with suppress(StorageError, SnapshotDamaged, AssertionError):
            life.snapshot([b"later"], created=later(1), store=FaultyStore(life.store, faults))
        assert life.read(before) == b"earlier"
        assert all(entry.problem is None for entry in life.repository().snapshots.all())
    assert life.read(life.snapshot([b"later"], created=later(9))) == b"later"


def _many(site: Site, count: int) -> None:
    for number in range(count):
        name = object_name(f"{number:064x}")
        if isinstance(site.store, LocalStore):
            # Without a sync for each.
            (Path(site.store.url) / name).parent.mkdir(exist_ok=True, parents=True)
            (Path(site.store.url) / name).write_bytes(b"x")
        else:
            site.store.put(name, b"x")


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("memory", 5000),
        ("local", 5000),
        ("s3", 1100),
        pytest.param("s3", 5000, marks=pytest.mark.campaign),
        pytest.param("gcs", 5000, marks=pytest.mark.campaign),
        pytest.param("rclone", 5000, marks=pytest.mark.campaign),
        pytest.param("azure", 5100, marks=pytest.mark.campaign),
    ],
)
def test_a_listing_of_many_pages_is_whole(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, count: int
) -> None:
    """S3 lists a thousand names at once: what is on the last page must not be taken for absent."""
    place: Place = request.getfixturevalue(f"{kind}_place")
    site = Site(tmp_path, store=place.open())
    manifest = site.snapshot([b"text"])
    _many(site, count)
    present = objects_present(site.store)
    assert len(present) == count + 1
    assert examine(site.repository(), site.repository().snapshots.find(manifest.snapshot)).bad == ()


@pytest.mark.parametrize("kind", ["memory", "local", "s3"])
def test_a_listing_that_fails_half_way_is_no_short_one(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")
    site = Site(tmp_path, store=place.open())
    manifests = [site.snapshot([b"%d" % n], created=later(n)) for n in range(3)]
    broken = FaultyStore(site.store, [Fault(verb="list", how=How.MIDDLE, call=0)])
    acts: list[Callable[[], object]] = [
        lambda: pruned(site, broken),
        lambda: site.snapshot([b"x"], created=later(5), store=broken),
        site.repository(broken).snapshots.all,
        lambda: check(site.repository(broken), now=later(9), deep=False, emit=discard),
        lambda: examine(site.repository(broken), site.repository().snapshots.all()[0]),
    ]
    for act in acts:
        with pytest.raises(StoreUnreachable):
            act()
    assert [site.read(manifest) for manifest in manifests] == [b"0", b"1", b"2"]
    assert len(site.ids()) == 3


def test_two_snapshots_of_the_same_bytes_at_once(life: Site) -> None:
    """Also where the store ignores preconditions: both are whole, and each has its own id."""
    repository = life.repository()
    runs = [f"snapshot-20261123T12000{n}Z-k3x9" for n in range(2)]
    with writing(repository, runs[0]) as one, writing(repository, runs[1]) as two:
        parts = [put(work, [b"same", b"bytes"], repository) for work in (one, two)]
        manifests = [manifest_of(repository, p, later(n)) for n, p in enumerate(parts)]
        for work, manifest in zip((one, two), manifests, strict=True):
            assert work.commit(manifest).warnings == ()
    assert [life.read(manifest) for manifest in manifests] == [b"samebytes"] * 2
    assert life.repository().ledger.read().problems == ()
