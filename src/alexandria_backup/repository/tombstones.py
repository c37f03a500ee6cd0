"""Tombstones: what a prune is about to remove, told before it does.

A snapshot that is being taken lists the tombstones twice: before it relies on an object that is
there already, and after its manifest is put. The rest of the protocol is told in `prune`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from alexandria_backup.errors import RepositoryInvalid, SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.repository.description import RepositoryId
from alexandria_backup.repository.documents import Form, refuse_foreign
from alexandria_backup.repository.fetching import fetch_all
from alexandria_backup.repository.layout import TOMBSTONES, Kind, parse
from alexandria_backup.repository.manifest_parts import Count, Instant, Part, PlainName, Sha256Hex
from alexandria_backup.sealing.signing import TrustedKey
from alexandria_backup.storage.store import ObjectInfo, ObjectStore


class Doomed(Part):
    """A snapshot that a prune is about to remove."""

    snapshot: PlainName
    #: The rule; it goes to the ledger and is kept for good.
    reason: str


class Tombstone(Part):
    """What one prune is about to remove."""

    role: Literal["tombstone"] = "tombstone"
    format: Literal[1] = 1
    repository: RepositoryId
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


@dataclass(frozen=True, kw_only=True)
class UnreadableTombstone:
    """A tombstone that cannot be read or believed: what it dooms is not known."""

    name: str
    problem: SnapshotDamaged | StorageError | WrongKey


def found_tombstones(
    store: ObjectStore, repository: str, trusted: Sequence[TrustedKey]
) -> tuple[StandingTombstone | UnreadableTombstone, ...]:
    """Return all tombstones; raises StorageError where the listing fails."""
    found = [i for i in store.list(TOMBSTONES) if parse(i.name).kind is Kind.TOMBSTONE]
    return tuple(
        _found(info, data, repository, trusted)
        for info, data in fetch_all(store, found, largest=FORM.largest)
    )


def standing(
    store: ObjectStore, repository: str, trusted: Sequence[TrustedKey]
) -> tuple[StandingTombstone, ...]:
    """Return all tombstones, oldest first.

    Raises RepositoryInvalid or WrongKey, naming it, for one that cannot be read or believed: what
    it dooms is not known then, and to go on would be a guess. Raises StorageError.
    """
    standing: list[StandingTombstone] = []
    for one in found_tombstones(store, repository, trusted):
        if isinstance(one, UnreadableTombstone):
            error = one.problem
            raise type(error)(
                f"`{one.name}`: {error.message}",
                hint=error.hint or f"look who wrote it; then remove `{one.name}` by hand",
            ) from error
        standing.append(one)
    return tuple(sorted(standing, key=lambda one: (one.since, one.name)))


def _found(
    info: ObjectInfo,
    data: bytes | StorageError | SnapshotDamaged,
    repository: str,
    trusted: Sequence[TrustedKey],
) -> StandingTombstone | UnreadableTombstone:
    try:
        if not isinstance(data, bytes):
            raise data
        tombstone = FORM.decode(data, trusted).document
        refuse_foreign(repository, tombstone.repository, "the tombstone")
        if tombstone.run != parse(info.name).key:
            raise RepositoryInvalid(f"the tombstone is the one of run `{tombstone.run}`")
    except (SnapshotDamaged, StorageError, WrongKey) as error:
        return UnreadableTombstone(name=info.name, problem=error)
    return StandingTombstone(name=info.name, since=info.modified, tombstone=tombstone)
