"""Tombstones: what a prune is about to remove, told before it does.

A snapshot that is being taken lists the tombstones twice: before it relies on an object that is
there already, and after its manifest is put. The rest of the protocol is told in `prune`.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal

from alexandria_backup.errors import RepositoryInvalid, SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.repository.access import Access, Found, Owned
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.layout import TOMBSTONES, Kind, parse
from alexandria_backup.repository.manifest_parts import Count, Instant, Part, PlainName, Sha256Hex
from alexandria_backup.storage.store import ObjectInfo


class Doomed(Part):
    """A snapshot that a prune is about to remove."""

    snapshot: PlainName
    #: The rule; it goes to the ledger and is kept for good.
    reason: str


class Tombstone(Owned):
    """What one prune is about to remove."""

    role: Literal["tombstone"] = "tombstone"
    format: Literal[1] = 1
    run: PlainName
    at: Instant
    snapshots: tuple[Doomed, ...]
    objects: tuple[Sha256Hex, ...]
    #: Of these objects together.
    bytes: Count


FORM: Final = Form(role="tombstone", model=Tombstone, version=1, largest=64 << 20)


@dataclass(frozen=True, kw_only=True)
class StandingTombstone:
    """A tombstone as it lies in the store."""

    name: str
    #: When it was put, by the store's clock.
    since: datetime
    tombstone: Tombstone


def found_tombstones(access: Access) -> tuple[Found[Tombstone], ...]:
    """Return all tombstones; what is wrong with one stands in its place. Raises StorageError."""
    listed = [i for i in access.store.list(TOMBSTONES) if parse(i.name).kind is Kind.TOMBSTONE]
    return tuple(access.read_all(FORM, listed, partial(_opened, access)))


def standing(access: Access) -> tuple[StandingTombstone, ...]:
    """Return all tombstones, oldest first.

    Raises RepositoryInvalid or WrongKey, naming it, for one that cannot be read or believed: what
    it dooms is not known then, and to go on would be a guess. Raises StorageError.
    """
    standing: list[StandingTombstone] = []
    for found in found_tombstones(access):
        if found.document is None:
            raise _unreadable(found) from found.error
        standing.append(
            StandingTombstone(name=found.name, since=found.info.modified, tombstone=found.document)
        )
    return tuple(sorted(standing, key=lambda one: (one.since, one.name)))


def _unreadable(found: Found[Tombstone]) -> SnapshotDamaged | WrongKey | StorageError:
    error = found.error or RepositoryInvalid("it cannot be read")
    hint = error.hint or f"look who wrote it; then remove `{found.name}` by hand"
    return type(error)(f"`{found.name}`: {error.message}", hint=hint)


def _opened(access: Access, info: ObjectInfo, data: bytes) -> Tombstone:
    tombstone = access.decode(FORM, data)
    if tombstone.run != parse(info.name).key:
        raise RepositoryInvalid(f"the tombstone is the one of run `{tombstone.run}`")
    return tombstone
