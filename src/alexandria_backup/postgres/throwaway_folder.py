"""Folders that live as long as a process: what a killed one has left, the next one removes.

A folder is in use while somebody holds a lock on the file `lock` in it. The kernel frees the lock
with the process, however that ends, so a folder whose lock can be had belongs to nobody.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alexandria_backup.errors import PrecheckRefused

#: How the names begin, by what the folders hold: the server of a drill,
PREFIX: Final = "alexandria-drill-"
#: what is handed to `pg_restore`,
LOADS: Final = "alexandria-load-"
#: and the socket of a server of our own.
SERVERS: Final = "alexandria-server-"
#: In a folder of a server: its data, which may be somebody's.
_DATA: Final = "data"
_LOCK: Final = "lock"
#: Seconds in which a server whose folder is taken away must have ended.
_PATIENCE_S: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class HeldFolder:
    """A folder that is in use as long as a process has `lock` open."""

    path: Path
    lock: int


@contextmanager
def throwaway_folder(base: Path) -> Iterator[Path]:
    """Give a new folder in `base`, and remove it with all it holds.

    Raises PrecheckRefused where none can be made.
    """
    try:
        ours = [] if base.exists() else [base]
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = held_folder(base, PREFIX)
        if os.geteuid() == 0:
            # A server that root starts runs as another user, who must come through.
            for made in (*ours, held.path):
                made.chmod(0o711)
    except OSError as error:
        raise PrecheckRefused(
            f"no folder for a throwaway server can be made in `{base}`: {error.strerror}",
            hint="set `[drill] folder` to a folder on a disk with room",
        ) from error
    with _removed_at_the_end(held) as folder:
        yield folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder for what is handed to `pg_restore`: only this user may look into it.

    What killed processes have left is removed first. Raises OSError where none can be made.
    """
    base = Path(tempfile.gettempdir())
    remove_left_over(base, LOADS)
    with _removed_at_the_end(held_folder(base, LOADS)) as folder:
        yield folder


def temporary_bases() -> tuple[Path, ...]:
    """Return the folders that may hold the private folder of a server, the preferred one first."""
    bases = (tempfile.gettempdir(), "/tmp", "/var/tmp")  # noqa: S108 - a folder of our own in it
    return tuple(dict.fromkeys(map(Path, bases)))


def remove_temporary_left_over() -> tuple[Path, ...]:
    """Remove what killed processes of this user have left in temporary folders; return it."""
    found = (
        remove_left_over(base, prefix) for base in temporary_bases() for prefix in (SERVERS, LOADS)
    )
    return tuple(folder for folders in found for folder in folders)


def remove_left_over(base: Path, prefix: str = PREFIX) -> tuple[Path, ...]:
    """Remove the folders in `base` that this user's killed processes have left; return them.

    One that is in use is left alone, and so is whatever is not a folder of ours, and a server's
    where data were kept while it ran: they may be somebody's.
    """
    removed = []
    for folder in sorted(base.glob(f"{prefix}*")):
        lock = _taken_over(folder)
        if lock is None:
            continue
        try:
            if prefix == SERVERS and (folder / _DATA).exists():
                continue
            _remove(folder)
        finally:
            os.close(lock)
        removed.append(folder)
    return tuple(removed)


@contextmanager
def _removed_at_the_end(held: HeldFolder) -> Iterator[Path]:
    try:
        yield held.path
    finally:
        try:
            _remove(held.path)
        finally:
            os.close(held.lock)


def held_folder(base: Path, prefix: str) -> HeldFolder:
    """Make a folder in `base` and hold it; raises OSError."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if _is_held(folder, lock):
            return HeldFolder(path=folder, lock=lock)
        # Somebody who cleans up was faster than we.
        os.close(lock)


def _is_held(folder: Path, lock: int) -> bool:
    """Take the lock; False where another has it, or has removed it meanwhile."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return (folder / _LOCK).stat().st_ino == os.fstat(lock).st_ino
    except OSError:
        return False


def _taken_over(folder: Path) -> int | None:
    """Return the lock of a folder that nobody uses; None where it is in use, or not ours."""
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return None
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    if _is_held(folder, lock):
        return lock
    os.close(lock)
    return None


def _remove(folder: Path) -> None:
    """Remove a folder, also where a server that has just been killed still writes into it."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        # The lock goes last: what is left half-way must be found again.
        for path in folder.glob("*"):
            if path.name != _LOCK:
                _remove_path(path)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists() or time.monotonic() > until:
            return
        time.sleep(0.05)


def _remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
