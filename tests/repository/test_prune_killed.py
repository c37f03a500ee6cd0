"""A prune that is killed at a random moment: what is kept is whole, the next one needs no help."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository_support import Site, later

from alexandria_backup.events import discard
from alexandria_backup.repository.checking import check
from alexandria_backup.repository.findings import Severity
from alexandria_backup.repository.layout import LEASES, TOMBSTONES
from alexandria_backup.repository.prune import prune
from alexandria_backup.repository.retention import KeepRules
from alexandria_backup.storage.local import LocalStore

SUPPORT = Path(__file__).parents[1] / "support"
#: Longer than an undisturbed prune of these snapshots takes on a slow machine.
LONGEST_S = 0.2


def make(folder: Path) -> tuple[Site, list[bytes]]:
    """Eight snapshots; the last two are kept."""
    (folder / "repository").mkdir()
    site = Site(folder, store=LocalStore(folder / "repository"))
    texts = [b"snapshot %d" % number for number in range(8)]
    for number, text in enumerate(texts):
        site.snapshot([text, b"shared"], created=later(number))
    return site, texts[-2:]


def kill_after(folder: Path, seconds: float) -> None:
    with subprocess.Popen(
        [sys.executable, str(SUPPORT / "killed_prune.py"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(seconds)
        process.kill()


def assert_whole(site: Site, texts: list[bytes]) -> None:
    entries = site.repository().snapshots.all()
    assert all(entry.problem is None for entry in entries)
    kept = [entry.manifest for entry in entries[-2:] if entry.manifest]
    assert [site.read(manifest) for manifest in kept] == [text + b"shared" for text in texts]


def survive(folder: Path, seconds: float) -> None:
    site, texts = make(folder)
    kill_after(folder, seconds)
    assert_whole(site, texts)
    # A snapshot is not held up, and the next prune needs no help.
    site.snapshot([b"the next", b"shared"], created=later(9))
    rules = KeepRules(last=2)
    done = prune(
        site.repository(), rules, grace=later(0) - later(0), confirm=lambda _: None, emit=discard
    )
    assert done.spared == ()
    assert_whole(site, [texts[-1], b"the next"])
    assert len(site.ids()) == 2
    assert len(site.objects()) == 3
    assert [*site.store.list(TOMBSTONES)] == []
    for info in [*site.store.list(LEASES)]:
        site.store.delete(info.name)  # of the dead; a check only notes them
    report = check(site.repository(), now=later(10), deep=True, emit=discard)
    assert report.of(Severity.ERROR) == ()
    assert report.of(Severity.WARNING) == ()


@pytest.mark.parametrize("number", range(6))
def test_killed_at_a_random_moment(tmp_path: Path, number: int) -> None:
    survive(tmp_path, random.uniform(0, LONGEST_S))


@pytest.mark.campaign
@pytest.mark.parametrize("number", range(80))
def test_killed_at_many_random_moments(tmp_path: Path, number: int) -> None:
    survive(tmp_path, random.uniform(0, LONGEST_S))
