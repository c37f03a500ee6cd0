"""Whether the server's disk has room for a second database."""

import shutil
from collections.abc import Iterator

from alexandria_backup.errors import SpaceMissing
from alexandria_backup.postgres.server import ServerFacts
from alexandria_backup.postgres.server_machine import data_folder
from alexandria_backup.runbooks.restore_state import Source

#: A loaded database is about this many times the size of its archive's raw rows: with indexes.
_GROWTH = 2.0


def space(
    server: ServerFacts, source: Source, configured: int | None, reserve: int = 0
) -> Iterator[str]:
    """Refuse where the server's disk has no room for the shadow; warn where nobody knows.

    `reserve` is what must stay free beside it.
    """
    needed = int(source.raw_bytes * _GROWTH)
    free = configured if configured is not None else measured_free(server)
    if free is None:
        yield (
            f"free space on the server is not known; about {needed:,} bytes are needed "
            "(set `[database] server_free_space`)"
        )
    elif free < needed + reserve:
        stays = f", and {reserve:,} must stay free" if reserve else ""
        raise SpaceMissing(
            f"the server has {free:,} bytes free and about {needed:,} are needed{stays}",
            hint="free space on the server: what is there stays beside what is restored",
        )


def measured_free(server: ServerFacts) -> int | None:
    """Return the bytes free under the server's data folder, where it is on this machine."""
    folder = data_folder(server)
    if folder is None:
        return None
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
