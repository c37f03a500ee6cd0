"""Whole installations of PostgreSQL on this machine: those that can start a server."""

import os
from pathlib import Path

from alexandria_backup.postgres.client_tools import default_places, installed_in

_NEEDED = ("initdb", "postgres")


def server_programs(major: int, *, places: tuple[Path, ...] | None = None) -> tuple[Path, ...]:
    """Return the folders of programs that can start a server of this major version.

    Looked at are `places`: by default PATH, where packages install them, and the embedded ones.
    Client tools alone do not count, and neither does one of another version.
    """
    found = []
    for folder in default_places() if places is None else places:
        if not all(os.access(folder / name, os.X_OK) for name in _NEEDED):
            continue
        tools = installed_in(folder)
        if tools is not None and tools.major == major:
            found.append(tools.bin_dir)
    return tuple(found)
