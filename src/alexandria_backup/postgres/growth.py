"""How large a database and the server's WAL have grown, and how much room the server has left."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.server import ServerFacts, server_facts
from alexandria_backup.postgres.server_machine import runs_here


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What was seen at one moment, in bytes."""

    database: int
    #: None where the role may not list the WAL.
    wal: int | None
    #: On the fullest of the disks that the database is written to; None where nobody knows.
    free: int | None


def look(
    maintenance: Session, database: str, *, stated_free: int | None, first: Growth | None
) -> Growth:
    """Look at a database from another one; raises StatementFailed where it is gone.

    Where the server runs elsewhere, what is free is `stated_free`, which was so at the `first`
    look, less what has grown since.
    """
    queries = load("server")
    size = int(maintenance.value(queries["database_size"], [database]))
    may_list = maintenance.value(queries["may_list_wal"])
    wal = int(maintenance.value(queries["wal_size"])) if may_list else None
    server = server_facts(maintenance)
    if runs_here(server):
        location = str(maintenance.value(queries["location_of"], [database]) or "")
        return Growth(database=size, wal=wal, free=_measured(server, location))
    free = stated_free
    if free is not None and first is not None:
        free -= size - first.database
        if wal is not None and first.wal is not None:
            free -= max(0, wal - first.wal)
    return Growth(database=size, wal=wal, free=free)


def _measured(server: ServerFacts, location: str) -> int | None:
    return min(_free_below(_folders(server, location)), default=None)


def _folders(server: ServerFacts, location: str) -> Iterator[Path]:
    data = Path(server.data_directory or "")
    yield data
    # WAL and tablespaces are often on disks of their own.
    yield data / "pg_wal"
    if location:
        yield Path(location)


def _free_below(folders: Iterator[Path]) -> Iterator[int]:
    for folder in folders:
        try:
            yield shutil.disk_usage(folder).free
        except OSError:
            continue
