"""A lock that a process holds while it lives, so that others can end when it does.

`stop` and `start` of the application are commands, so the application is nobody's child. It watches
this lock instead, which the kernel frees however its holder ends, SIGKILL included. It is a POSIX
lock (`fcntl`), not `flock`: a forked worker that outlives its parent does not inherit it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexandria_backup.errors import LockedByAnotherRun

#: What this process holds: a POSIX lock does not tell its own holder, and looking would free it.
_held: set[Path] = set()


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the keeper; raises `LockedByAnotherRun` if another process is.

    While it is held, this process must not open `path` by other means than this module's: closing
    any descriptor of the file frees a POSIX lock.
    """
    if path.absolute() in _held:
        raise LockedByAnotherRun(f"`{path.parent}` is held by this very process")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise LockedByAnotherRun(
                f"`{path.parent}` belongs to a demo that is still running",
                hint="choose another folder, or wait for that demo",
            ) from exc
        _held.add(path.absolute())
        yield
    finally:
        _held.discard(path.absolute())
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether there is a keeper: another process or this one."""
    if path.absolute() in _held:
        return True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def outlast(path: Path) -> None:
    """Block until there is no keeper (any more); for a thread of its own."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
