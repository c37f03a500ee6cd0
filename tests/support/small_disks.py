"""A fixture: file systems that are small, and really full when they are full."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from alexandria_backup.postgres.embedded import EmbeddedServer


@dataclass(kw_only=True)
class SmallDisk:
    """A file system of a few hundred kilobytes, really full when it is full."""

    path: Path

    def fill(self, leave_bytes: int) -> None:
        """Take all room but `leave_bytes`."""
        (self.path / "ballast").touch()
        free = os.statvfs(self.path)
        size = free.f_bavail * free.f_frsize - leave_bytes
        with (self.path / "ballast").open("ab") as file:
            file.write(b"\0" * size)

    def make_room(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,size=32m", str(self.path)], check=True)

    def open_to_server(self) -> None:
        """Let a server reach it, which runs as another user."""
        self.path.chmod(0o711)

    def files(self) -> list[str]:
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if path.name != "ballast")


@contextmanager
def cramped(disk: SmallDisk) -> Iterator[EmbeddedServer]:
    """Run a server on a small disk, with as little WAL as a server can have."""
    settings = {
        "fsync": "off",
        "autovacuum": "off",
        "shared_buffers": "16MB",
        "max_connections": "40",
        "min_wal_size": "32MB",
        "max_wal_size": "32MB",
    }
    with EmbeddedServer.start(disk.path / "server", settings=settings) as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, int], SmallDisk]]:
    """Mount a small file system: `small_disk(where, kilobytes)`; only root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted: list[Path] = []

    def make(where: Path, kilobytes: int) -> SmallDisk:
        where.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700", "tmpfs", str(where)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(where)
        return SmallDisk(path=where)

    yield make
    for where in mounted:
        subprocess.run(["umount", str(where)], check=True)
