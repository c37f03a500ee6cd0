"""The machine that a server runs on, where that is this one."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from alexandria_backup.postgres.server import ServerFacts

#: What a container may use, in either version of cgroups; a word where there is no limit.
_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def data_folder(server: ServerFacts) -> Path | None:
    """Return the server's data folder; None where it is not seen from this process."""
    if not server.local or server.data_directory is None:
        return None
    folder = Path(server.data_directory)
    try:
        return folder if folder.is_dir() else None
    except OSError:
        return None


def runs_here(server: ServerFacts) -> bool:
    """Tell whether the server's data folder is on this machine, seen from this process."""
    return data_folder(server) is not None


def memory_bytes(server: ServerFacts, limits: Iterable[Path] = _LIMITS) -> int | None:
    """Return the memory of the server's machine, or of the container; None where it is another."""
    if not runs_here(server):
        return None
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in limits:
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return min(found)


def cores(server: ServerFacts) -> int | None:
    """Return the number of processors; None where it runs on another machine."""
    return os.cpu_count() if runs_here(server) else None
