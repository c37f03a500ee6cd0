"""A repository on a disk that is really full: what was there stays whole, and room can be made."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from repository_support import Site, later
from small_disks import SmallDisk

from alexandria_backup.errors import StoreFull
from alexandria_backup.events import discard
from alexandria_backup.repository.checking import check
from alexandria_backup.repository.findings import Severity
from alexandria_backup.repository.layout import RESERVE, SNAPSHOTS
from alexandria_backup.repository.prune import prune
from alexandria_backup.repository.reserve import RESERVE_BYTES
from alexandria_backup.repository.retention import KeepRules
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.memory import MemoryStore

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path, small_disk: Callable[[Path, int], SmallDisk]) -> SmallDisk:
    return small_disk(tmp_path / "disk", 12 * 1024)


@pytest.fixture
def full(tmp_path: Path, disk: SmallDisk) -> Site:
    """Snapshots of 1 MiB each, until none fits any more."""
    site = Site(tmp_path, store=LocalStore(disk.path))
    for day in range(20):
        try:
            site.snapshot([random.randbytes(MIB)], created=later(day))
        except StoreFull:
            return site
    pytest.fail("the disk never became full")


def sound(site: Site, count: int) -> bool:
    entries = site.repository().snapshots.all()
    assert len(entries) == count
    for entry in entries:
        assert entry.manifest is not None
        assert len(site.read(entry.manifest)) == MIB
    report = check(site.repository(), now=later(0), deep=True, emit=discard)
    wrong = [*report.of(Severity.ERROR), *report.of(Severity.WARNING)]
    return [finding for finding in wrong if finding.about != "ballast"] == []


def test_ten_runs_into_it_leave_earlier_snapshots_whole(full: Site) -> None:
    count = len(full.ids())
    assert count > 3
    for day in range(10):
        with pytest.raises(StoreFull):
            full.snapshot([random.randbytes(MIB)], created=later(30 + day))
        assert sound(full, count)
    assert full.store.head(RESERVE) is not None


def test_a_prune_makes_room_on_a_disk_without_any(full: Site, disk: SmallDisk) -> None:
    disk.fill(0)
    with pytest.raises(StoreFull):
        full.snapshot([b"x"], created=later(30))
    count = len(full.ids())
    done = prune(
        full.repository(),
        KeepRules(last=2),
        grace=timedelta(0),
        confirm=lambda _: None,
        emit=discard,
    )
    assert len(done.snapshots) == count - 2
    assert sound(full, 2)
    full.snapshot([random.randbytes(MIB)], created=later(40))
    assert sound(full, 3)


def test_the_reserve_is_kept_where_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    site = Site(tmp_path, store=LocalStore(tmp_path / "repository"))
    info = site.store.head(RESERVE)
    assert info is not None
    assert info.size == RESERVE_BYTES
    assert [*site.store.list(SNAPSHOTS)] == []
    memory = Site(tmp_path / "other", store=MemoryStore())
    assert memory.store.head(RESERVE) is None
