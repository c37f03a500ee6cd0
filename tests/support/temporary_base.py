"""Where a test run keeps all that is temporary: in memory where there is room, else in `/tmp`.

What is tested syncs each file that must outlast a crash; that costs milliseconds on a disk and
nothing in memory, and no test can pull the plug. Full disks are small file systems of their own.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

import psutil

_MEMORY: Final = Path("/dev/shm")
#: What all processes of a run take together is less than half of either.
_ROOM: Final = 2 << 30
_MEMORY_LEFT: Final = 4 << 30


def temporary_base() -> Path:
    """Make a folder for one process of a run: its path is short for the sake of sockets."""
    base = Path(tempfile.mkdtemp(prefix="alx-", dir=_MEMORY if _has_room(_MEMORY) else "/tmp"))
    # Open like `/tmp` itself, for the server's user.
    base.chmod(0o1777)
    return base


def _has_room(folder: Path) -> bool:
    """Tell whether programs can be kept there, too: containers often forbid to run them."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(folder)
    return (
        found.f_bavail * found.f_frsize >= _ROOM
        and not found.f_flag & getattr(os, "ST_NOEXEC", 0)
        and psutil.virtual_memory().available >= _MEMORY_LEFT
    )
