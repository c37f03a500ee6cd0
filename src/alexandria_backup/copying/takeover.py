"""What may be taken over, unread, from an earlier snapshot, and why not.

Four conditions, all of them needed:

1. a page range holds as many rows as were copied then, and none whose inserting transaction the
   earlier snapshot cannot have seen: so they are the very same rows in the very same places;
2. cluster and table are what they were: nothing that decides how a stored row is written as text
   has changed;
3. this snapshot sees the marker that was committed after the earlier one was taken: both stand in
   one history, which no crash, failover or copied volume has cut;
4. the stored objects are there, with their sizes, are not known to be bad, and can be read by all
   who shall read this snapshot.

Anything short of that is read, and the reason is told.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from alexandria_backup.postgres.exported_snapshot import SnapshotPosition, lsn_bytes
from alexandria_backup.postgres.page_ranges import RangeCount
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import (
    FramedPart,
    FramePart,
    OriginPart,
)

#: How far transaction ids may have moved on: half of what their circle can tell apart, less what
#: may be in flight.
_MOST_XIDS: Final = 2**31 - 2**24


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An earlier snapshot that frames may be taken over from."""

    snapshot: str
    origin: OriginPart
    #: By the OID of the table.
    tables: Mapping[int, FramedPart]

    @classmethod
    def of(cls, manifest: Manifest) -> "Reference | None":
        """Return a snapshot as a reference; None where nothing can be taken over from it."""
        if manifest.origin is None:
            return None
        tables = {table.framed.oid: table.framed for table in manifest.tables if table.framed}
        return cls(snapshot=manifest.snapshot, origin=manifest.origin, tables=tables)


@dataclass(frozen=True, kw_only=True)
class Now:
    """What a snapshot that is being taken knows of itself."""

    position: SnapshotPosition
    #: Keyed digest of the cluster's traits.
    cluster: str
    #: From the server's settings: without it, WAL proves nothing after a crash of the machine.
    fsync: bool
    sees_marker: Callable[[str], bool]


def objection_to_all(reference: Reference, now: Now) -> str | None:
    """Return why nothing of a reference may be taken over; None where something may."""
    return next(_objections_to_all(reference.origin, now), None)


def _objections_to_all(then: OriginPart, now: Now) -> Iterator[str]:
    position = now.position
    if then.marker is None:
        yield "the earlier snapshot could write no marker"
    if not now.fsync:
        yield "the server runs with `fsync` off"
    if then.cluster != now.cluster:
        yield "the server, its version or its settings are others"
    if position.timeline == 0 or then.timeline != position.timeline:
        yield "the server is on another timeline, or a standby"
    if position.lsn_bytes < lsn_bytes(then.lsn) or position.xmax < then.xmax:
        yield "the server stands before the earlier snapshot"
    if position.xmax - then.xmin >= _MOST_XIDS:
        yield "too many transactions lie between"
    if then.marker is not None and not now.sees_marker(then.marker):
        yield "the marker of the earlier snapshot is not there: the server has another history"


def objection_to_table(
    before: FramedPart | None, *, frame_pages: int | None, fingerprint: Mapping[str, str] | None
) -> str | None:
    """Return why no frame of a table may be taken over; None where some may."""
    if before is None:
        return "the table is new as frames"
    if fingerprint is None or before.fingerprint is None:
        return "its rows may look different without being touched"
    changed = [name for name in fingerprint if fingerprint[name] != before.fingerprint.get(name)]
    if changed or fingerprint.keys() != before.fingerprint.keys():
        return f"changed since: {', '.join(changed) or 'what is compared'}"
    if frame_pages != before.frame_pages:
        return "the frames have another size"
    return None


def objection_to_frame(before: FramePart, count: RangeCount) -> str | None:
    """Return why the rows of a frame may not be those of before; None where they are.

    Whether their objects are good is asked besides.
    """
    if count.young:
        return f"{count.young:,} rows may be new"
    if count.rows != before.rows:
        return f"{count.rows:,} rows instead of {before.rows:,}"
    return None
