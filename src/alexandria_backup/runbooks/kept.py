"""Databases that a swap has replaced: found by their marker, readable for a moment, droppable."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.fence import fence, lift
from alexandria_backup.postgres.server import list_databases
from alexandria_backup.postgres.shadow import Marker, read_marker
from alexandria_backup.postgres.swap import who_is

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
    found = []
    for name in list_databases(maintenance):
        if name == target:
            continue
        marker = read_marker(maintenance, name)
        oid = who_is(maintenance, name)
        if marker is None or oid is None or marker.role != "kept" or marker.of != target:
            continue
        if run is None or marker.run == run:
            found.append(KeptDatabase(name=name, oid=oid, marker=marker))
    if not found:
        of_run = f" of run `{run}`" if run else ""
        raise UsageError(
            f"no database{of_run} that `{target}` has replaced is kept on this server",
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
