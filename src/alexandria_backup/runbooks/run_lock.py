"""One run at a time per database: an advisory lock on the server, from whatever machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from alexandria_backup.errors import LockedByAnotherRun
from alexandria_backup.postgres.connect import Session
from alexandria_backup.runbooks.servers import Servers

#: Distinguishes our locks from those of other programs on the same server.
_CLASS = 0x416C6578  # "Alex"


@contextmanager
def run_lock(servers: Servers, database: str) -> Iterator[None]:
    """Hold the lock of `database` while the block runs; raises LockedByAnotherRun.

    The server frees it with the session, so that a killed run locks nobody out.
    """
    with servers.maintenance() as session:
        locked = session.value(
            "SELECT pg_catalog.pg_try_advisory_lock(%s, pg_catalog.hashtext(%s))",
            (_CLASS, database),
        )
        if not locked:
            raise LockedByAnotherRun(
                f"another run is working on `{database}` at this moment",
                hint="alexandria run list",
            )
        yield


def is_locked(session: Session, database: str) -> bool:
    """Tell whether anybody holds the lock of `database`, from whatever database of the server."""
    return bool(
        session.value(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'advisory' "
            "AND l.objsubid = 2 AND l.granted AND l.classid = %s "
            "AND l.objid::bigint = pg_catalog.hashtext(%s)::bigint & 4294967295)",
            (_CLASS, database),
        )
    )
