"""Snapshots and prunes that interleave at random: whatever is listed can be read, always.

The protocol must hold with leases, which are polite, and without: a machine that slept has none. So
in one of the two worlds here nobody sees who writes, and safety rests on the order of writes alone.
"""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Lock

import pytest
from repository_support import AT_ONCE, SEALED, Site, later

from alexandria_backup.errors import LockedByAnotherRun, PrecheckRefused, SnapshotDamaged
from alexandria_backup.events import discard
from alexandria_backup.repository.layout import LEASES
from alexandria_backup.repository.prune import prune
from alexandria_backup.repository.retention import KeepRules
from alexandria_backup.repository.trust import Keys
from alexandria_backup.repository.writing import Patience
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectInfo

WORDS = [b"a", b"b", b"c", b"d"]
#: What a run may end with beside success; nothing else may happen.
GIVES_WAY = (LockedByAnotherRun, PrecheckRefused, SnapshotDamaged)


class Hasty(MemoryStore):
    """A store whose answers come at random times; in the second world it hides who writes."""

    def __init__(self, chance: random.Random, *, sleepers: bool) -> None:
        super().__init__()
        self._chance, self._sleepers = chance, sleepers

    def put(self, name: str, data: bytes) -> None:
        self._pause()
        super().put(name, data)

    def delete(self, name: str) -> None:
        self._pause()
        super().delete(name)

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        self._pause()
        for info in [*super().list(prefix, recursive=recursive)]:
            if not (self._sleepers and prefix == LEASES and self._is_writer(info.name)):
                yield info

    def _is_writer(self, name: str) -> bool:
        kept = self._objects.get(name)
        return kept is not None and b'"purpose": "write"' in kept.data

    def _pause(self) -> None:
        time.sleep(self._chance.choice((0, 0, 0.0005, 0.002)))


class Round:
    """Three machines that take snapshots and two that prune, all of one repository."""

    def __init__(self, folder: Path, keys: Keys, seed: int, *, sleepers: bool) -> None:
        chance = random.Random(seed)
        self.site = Site(folder, keys, Hasty(chance, sleepers=sleepers))
        self._chance, self._day, self._lock = chance, 0, Lock()
        self.site.snapshot([b"first"])
        self.done = 0

    def run(self) -> None:
        acts: list[Callable[[], None]] = [self._take] * 3 + [self._prune] * 2
        with ThreadPoolExecutor(len(acts)) as threads:
            for ended in [threads.submit(self._repeat, act) for act in acts]:
                ended.result()

    def _repeat(self, act: Callable[[], None]) -> None:
        for _ in range(4):
            try:
                act()
                self.done += 1
            except GIVES_WAY:
                pass

    def _take(self) -> None:
        with self._lock:
            self._day += 1
            day = self._day
            texts = self._chance.sample(WORDS, 2)
        patience = Patience(seconds=2, pause=0.01) if day % 2 else AT_ONCE
        manifest = self.site.snapshot(texts, created=later(day), patience=patience)
        assert manifest.snapshot

    def _prune(self) -> None:
        prune(
            self.site.repository(),
            KeepRules(last=2),
            grace=timedelta(milliseconds=3),
            confirm=lambda _: None,
            emit=discard,
        )

    def assert_whole(self) -> None:
        repository = self.site.repository()
        entries = repository.snapshots.all()
        assert entries
        for entry in entries:
            assert entry.manifest is not None, entry.problem
            assert self.site.read(entry.manifest)
        ledger = repository.ledger.read()
        assert ledger.problems == ()
        gone = set(ledger.taken) - {entry.id for entry in entries}
        assert gone <= set(ledger.removed)


def interleave(folder: Path, keys: Keys, seed: int, *, sleepers: bool) -> None:
    one = Round(folder, keys, seed, sleepers=sleepers)
    one.run()
    one.assert_whole()
    assert one.done > 0
    for info in [*one.site.store.list(LEASES)]:
        one.site.store.delete(info.name)
    one._prune()
    one.assert_whole()
    assert len(one.site.ids()) <= 2


worlds = pytest.mark.parametrize("sleepers", [False, True], ids=["leases", "sleepers"])
kinds = pytest.mark.parametrize("keys", [Keys(), SEALED], ids=["plain", "sealed"])


@worlds
@kinds
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_listed_can_be_read(
    tmp_path: Path, keys: Keys, seed: int, sleepers: bool
) -> None:
    interleave(tmp_path, keys, seed, sleepers=sleepers)


@pytest.mark.campaign
@worlds
@kinds
@pytest.mark.parametrize("seed", range(3, 150))
def test_whatever_is_listed_can_be_read_in_many_rounds(
    tmp_path: Path, keys: Keys, seed: int, sleepers: bool
) -> None:
    interleave(tmp_path, keys, seed, sleepers=sleepers)
