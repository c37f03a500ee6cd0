"""What earlier snapshots and interrupted attempts have stored, and whether it may be used again."""

import random
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from alexandria_backup.errors import SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.repository.layout import SNAPSHOTS, Kind, parse
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.writing import SnapshotWriting

#: Manifests that are read to find a reference: without any marker there would be no end to it.
_MOST_LOOKED_AT: Final = 20


def newest_reference(
    repository: Repository, *, application: str, database_oid: int
) -> Manifest | None:
    """Return the newest snapshot of this very database that may be compared with.

    One that all current recipients can read, and whose manifest can be believed; damaged ones are
    passed over. So is one without a marker, as a standby's, where an earlier one has one: nothing
    can be taken over from it. Raises StorageError where the listing fails.
    """
    current = {str(recipient) for recipient in repository.recipients}
    newest: Manifest | None = None
    for manifest in islice(_newest_first(repository, application), _MOST_LOOKED_AT):
        if manifest.database.oid != database_oid or manifest.origin is None:
            continue
        if not current <= set(manifest.recipients):
            continue
        if bool(current) != bool(manifest.recipients):
            # Sealed objects in a repository that is not encrypted any more would stay sealed.
            break
        if manifest.origin.marker is not None:
            return manifest
        newest = newest or manifest
    return newest


def known_parts(reference: Manifest | None, work: SnapshotWriting) -> tuple[StoredPart, ...]:
    """Return what is stored already, for rows that are read without having changed.

    Parts of the reference and of interrupted attempts whose objects are there and may be relied on.
    """
    earlier = reference.stored_parts() if reference is not None else ()
    parts = {part.raw_digest: part for part in earlier if work.usable(part)}
    return tuple((parts | work.known).values())


class Objections:
    """Why a stored part may not be taken over: asked of each, and some are read again."""

    def __init__(self, work: SnapshotWriting, shelf: ObjectShelf, reread_share: float) -> None:
        self._work = work
        self._shelf = shelf
        self._share = reread_share

    def __call__(self, part: StoredPart) -> str | None:
        """Return the reason; None where there is none. Raises StorageError."""
        objection = self._work.objection(part)
        if objection is not None:
            return objection
        # A sample for each snapshot, so that damage at rest is found before a restore finds it.
        if random.random() < self._share and not self._shelf.is_intact(part):  # noqa: S311
            return "its object is damaged"
        return None


def _newest_first(repository: Repository, application: str) -> Iterator[Manifest]:
    """Give manifests newest first; few are read.

    By the time in their ids, but no later than when they were stored: the clock of a server may
    have been ahead.
    """
    own: list[tuple[str, datetime, str]] = []
    for info in repository.store.list(SNAPSHOTS):
        name = parse(info.name)
        if name.kind is Kind.MANIFEST and name.key.startswith(f"{application}-"):
            at = name.key.rsplit("-", 2)[1]
            own.append((min(at, f"{info.modified:%Y%m%dT%H%M%SZ}"), info.modified, name.key))
    for _, _, key in sorted(own, reverse=True):
        try:
            entry = repository.snapshots.find(key)
        except (SnapshotDamaged, WrongKey, StorageError):
            continue
        if entry.manifest is not None and entry.manifest.application == application:
            yield entry.manifest
