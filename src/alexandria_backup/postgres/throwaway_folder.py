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
from pathlib import Path
from typing import Final

from alexandria_backup.errors import PrecheckRefused

PREFIX: Final = "alexandria-drill-"
_LOCK: Final = "lock"
#: Seconds in which a server whose folder is taken away must have ended.
_PATIENCE_S: Final = 20.0


@contextmanager
def throwaway_folder(base: Path) -> Iterator[Path]:
    """Give a new folder in `base`, and remove it with all it holds.

    Raises PrecheckRefused where none can be made.
    """
    folder, lock = _made(base)
    try:
        yield folder
    finally:
        try:
            _remove(folder)
        finally:
            os.close(lock)


def remove_left_over(base: Path) -> tuple[Path, ...]:
    """Remove the folders in `base` that this user's killed processes have left; return them.

    One that is in use is left alone, and so is whatever is not a folder of ours.
    """
    removed = []
    for folder in sorted(base.glob(f"{PREFIX}*")):
        lock = _taken_over(folder)
        if lock is None:
            continue
        try:
            _remove(folder)
        finally:
            os.close(lock)
        removed.append(folder)
    return tuple(removed)


def _made(base: Path) -> tuple[Path, int]:
    while True:
        try:
            ours = [] if base.exists() else [base]
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            if os.geteuid() == 0:
                # A server that root starts runs as another user, who must come through.
                for made in (*ours, folder):
                    made.chmod(0o711)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise PrecheckRefused(
                f"no folder for a throwaway server can be made in `{base}`: {error.strerror}",
                hint="set `[drill] folder` to a folder on a disk with room",
            ) from error
        if _is_held(folder, lock):
            return folder, lock
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
