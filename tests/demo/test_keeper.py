import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexandria_backup.demo import keeper
from alexandria_backup.errors import LockedByAnotherRun

#: Holds the lock, and leaves a forked child behind that must not inherit it.
HOLDER = """
import os, sys
from pathlib import Path
from alexandria_backup.demo import keeper
with keeper.hold(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "keeper.lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_there_is_one_keeper(lock: Path, holder: subprocess.Popen[bytes]) -> None:
    assert keeper.is_held(lock)
    with pytest.raises(LockedByAnotherRun), keeper.hold(lock):
        pass


def test_a_killed_keeper_is_noticed_though_its_child_lives(
    lock: Path, holder: subprocess.Popen[bytes]
) -> None:
    noticed = threading.Event()

    def watch() -> None:
        keeper.outlast(lock)
        noticed.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert not noticed.wait(0.2)
    os.kill(holder.pid, 9)
    assert noticed.wait(30)
    watcher.join()
    assert not keeper.is_held(lock)


def test_a_lock_that_was_never_made_is_free(lock: Path) -> None:
    assert not keeper.is_held(lock)
    keeper.outlast(lock)


def test_the_lock_can_be_taken_again(lock: Path) -> None:
    for _ in range(2):
        with keeper.hold(lock):
            assert lock.stat().st_mode & 0o777 == 0o600


def test_the_keeper_itself_may_look_without_losing_the_lock(lock: Path) -> None:
    look = "import sys; from pathlib import Path; from alexandria_backup.demo import keeper; "
    look += "sys.exit(keeper.is_held(Path(sys.argv[1])))"
    command = [sys.executable, "-c", look, str(lock)]
    with keeper.hold(lock):
        assert keeper.is_held(lock)
        with pytest.raises(LockedByAnotherRun), keeper.hold(lock):
            pass
        assert subprocess.run(command, check=False).returncode == 1
    assert not keeper.is_held(lock)
    assert subprocess.run(command, check=False).returncode == 0
