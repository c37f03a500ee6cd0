"""One restore of a bundle at a time on a machine: what it exchanges is not in any repository."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexandria_backup.errors import LockedByAnotherRun


@contextmanager
def only_restore(state_dir: Path) -> Iterator[None]:
    """Raise LockedByAnotherRun where another restore works; the kernel frees it with the process.

    The state folder must be there.
    """
    descriptor = os.open(state_dir / "bundle.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockedByAnotherRun(
            "another restore of a bundle is working on this machine at this moment",
            hint="alexandria run list",
        ) from error
    else:
        yield
    finally:
        os.close(descriptor)
