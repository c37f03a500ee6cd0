"""What a run has replaced and kept: a database beside the live one, or schemas in it.

Both are found by their markers. A database is readable for a moment, and droppable.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.aside import Aside, kept_aside, things_aside
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.fence import fence, lift
from alexandria_backup.postgres.server import list_databases
from alexandria_backup.postgres.shadow import Marker, read_marker
from alexandria_backup.postgres.swap import who_is
from alexandria_backup.runbooks.servers import Servers

#: Seconds in which the only sessions of a kept database, ours, must be gone.
_PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class KeptDatabase:
    """A database that a run has replaced and kept."""

    name: str
    oid: int
    marker: Marker


def find_kept(maintenance: Session, *, target: str, run: str | None) -> KeptDatabase:
    """Return what `run` has kept of `target`, or what the newest run has; raise UsageError."""
    found: list[KeptDatabase] = []
    others: list[KeptDatabase] = []
    for name in list_databases(maintenance):
        if name == target:
            continue
        marker = read_marker(maintenance, name)
        oid = who_is(maintenance, name)
        if marker is None or oid is None or marker.role != "kept" or marker.of != target:
            continue
        mine = run is None or marker.run == run
        (found if mine else others).append(KeptDatabase(name=name, oid=oid, marker=marker))
    if not found:
        of_run = f" of run `{run}`" if run else ""
        kept = ", ".join(f"`{other.name}` by run `{other.marker.run}`" for other in others)
        raise UsageError(
            f"no database{of_run} that `{target}` has replaced is kept on this server"
            + (f"; kept is {kept}" if kept else ""),
            hint="alexandria run list",
        )
    return max(found, key=lambda kept: kept.marker.at)


@contextmanager
def readable(maintenance: Session, database: str) -> Iterator[None]:
    """Let a kept database be read; it is fenced again at the end, whatever happens."""
    lift(maintenance, database)
    try:
        yield
    finally:
        fence(maintenance, database, patience=_PATIENCE_S)


@dataclass(frozen=True, kw_only=True)
class KeptAside:
    """What a run has put aside in the database itself, and keeps."""

    run: str
    at: datetime
    things: tuple[Aside, ...]


def find_aside(session: Session, *, run: str | None, dropping: bool = False) -> KeptAside:
    """Return what `run` has put aside in the session's database, or what the newest run has.

    With `dropping` also what an accept has begun to drop. Raises UsageError where there is none.
    """
    found = _aside(session, run, dropping=dropping)
    if found is None:
        of_run = f" of run `{run}`" if run else ""
        raise UsageError(
            f"nothing{of_run} is put aside in `{session.dsn.database}`", hint="alexandria run list"
        )
    return found


def is_kept_in_place(
    servers: Servers, *, target: str, run: str | None, dropping: bool = False
) -> bool:
    """Tell whether what `run`, or the newest run, has kept is in the database `target` itself.

    With `dropping` also what an accept has begun to drop counts.
    """
    with servers.maintenance() as maintenance:
        if not servers.accepts_connections(maintenance, target):
            return False
        with servers.session(target, "find") as session:
            aside = _aside(session, run, dropping=dropping)
        if aside is None:
            return False
        try:
            beside = find_kept(maintenance, target=target, run=run)
        except UsageError:
            return True
    return aside.at > beside.marker.at


def _aside(session: Session, run: str | None, *, dropping: bool) -> KeptAside | None:
    things = things_aside(session, run) if dropping else kept_aside(session, run)
    if not things:
        return None
    newest = max(things, key=lambda thing: thing.marker.at).marker
    of_run = tuple(thing for thing in things if thing.marker.run == newest.run)
    return KeptAside(run=newest.run, at=newest.at, things=of_run)
