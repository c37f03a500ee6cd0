"""Leases: whoever reads or writes a repository says so, and a prune leaves it alone.

A lease is an object that is put anew before it grows old; its age is counted by the store's own
clock, so that no machine's clock matters. A reader without a signing key must be able to hold one;
so none is signed, and a forged one can only delay a prune.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal
from uuid import uuid4

from alexandria_backup.errors import (
    LockedByAnotherRun,
    SnapshotDamaged,
    StorageError,
    StoreUnreachable,
)
from alexandria_backup.repository.access import Owned
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.holders import is_known_dead, own_mark
from alexandria_backup.repository.layout import LEASES, Kind, lease_name, parse
from alexandria_backup.repository.manifest_parts import Count, Instant, PlainName
from alexandria_backup.storage.store import ObjectInfo, ObjectStore

#: A lease that was not put anew for so long is over: its holder died, or sleeps.
LIFETIME: Final = timedelta(minutes=15)
#: How often its holder puts it anew.
RENEWAL: Final = timedelta(minutes=4)


class Purpose(StrEnum):
    """What a lease is held for."""

    #: A snapshot is being taken: it may rely on any object that is there.
    WRITE = "write"
    #: A snapshot is being read: by a restore, a verify, a drill or an export.
    READ = "read"
    #: Objects are being swept.
    PRUNE = "prune"


class LeaseDocument(Owned):
    """What a lease says, for people and for politeness."""

    role: Literal["lease"] = "lease"
    format: Literal[1] = 1
    purpose: Purpose
    #: The snapshot that is read; None where any may be.
    snapshot: PlainName | None
    at: Instant
    host: str
    pid: Count
    #: Of `holders.own_mark`.
    process: str | None


_FORM: Final = Form(role="lease", model=LeaseDocument, version=1, largest=1 << 16)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lease that somebody holds, or held."""

    name: str
    #: Since it was last put, by the store's clock.
    age: timedelta
    #: None where it cannot be read; it counts all the same.
    document: LeaseDocument | None

    @property
    def is_live(self) -> bool:
        """Tell whether its holder may still be at work."""
        known_dead = self.document is not None and is_known_dead(self.document.process)
        return self.age <= LIFETIME and not known_dead

    def may_be(self, *purposes: Purpose) -> bool:
        """Tell whether somebody may still be at work for one of these purposes.

        A lease that cannot be read counts as any of them.
        """
        return self.is_live and (self.document is None or self.document.purpose in purposes)

    @property
    def holder(self) -> str:
        """Say who holds it, for messages."""
        if self.document is None:
            return f"`{self.name}`, which cannot be read"
        return (
            f"process {self.document.pid} on `{self.document.host}` ({self.document.purpose.value})"
        )


class Lease:
    """The lease that this process holds; threads may share it."""

    def __init__(
        self, store: ObjectStore, repository: str, purpose: Purpose, snapshot: str | None
    ) -> None:
        self._store = store
        self._repository = repository
        self._purpose = purpose
        self._snapshot = snapshot
        self._lock = threading.Lock()
        #: All names it has had, another after each renewal; and those that may be there still.
        self._names: set[str] = set()
        self._there: set[str] = set()

    def put(self) -> datetime:
        """Put the lease anew, and take away the one before.

        Returns when the store says that it was put: its clock, as close as it gets.
        """
        document = LeaseDocument(
            repository=self._repository,
            purpose=self._purpose,
            snapshot=self._snapshot,
            at=datetime.now(UTC),
            host=socket.gethostname(),
            pid=os.getpid(),
            process=own_mark(),
        )
        with self._lock:
            name = lease_name(str(uuid4()))
            self._names.add(name)
            # Known before it is put: where the answer is lost, it is there all the same.
            before, self._there = self._there, {*self._there, name}
            self._store.put(name, _FORM.encode(document, None))
            self._remove(before)
            info = self._store.head(name)
        if info is None:
            raise StorageError(
                f"the lease `{name}` was removed while it was held",
                hint="look who else prunes or cleans this place",
            )
        return info.modified

    def drop(self) -> None:
        """Take the lease away; where that fails, it is over by itself in a while."""
        with self._lock:
            self._remove(self._there)

    def is_own(self, name: str) -> bool:
        """Tell whether this lease has, or has had, this name."""
        return name in self._names

    def _remove(self, names: set[str]) -> None:
        for name in tuple(names):
            with suppress(StorageError):
                self._store.delete(name)
                self._there -= {name}


@contextmanager
def held(
    store: ObjectStore,
    repository: str,
    purpose: Purpose,
    snapshot: str | None = None,
    *,
    renewal: timedelta = RENEWAL,
) -> Iterator[Lease]:
    """Hold a lease; it is put anew by a thread of its own, and taken away at the end.

    A renewal that fails is tried again with the next one: no promise rests on a lease alone, since
    a machine may sleep for longer. Raises StorageError where the first put fails.
    """
    lease = Lease(store, repository, purpose, snapshot)
    try:
        lease.put()
    except BaseException:
        lease.drop()
        raise
    over = threading.Event()

    def renew() -> None:
        while not over.wait(renewal.total_seconds()):
            with suppress(StorageError):
                lease.put()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join()
        lease.drop()


def all_leases(store: ObjectStore, own: Lease) -> tuple[Held, ...]:
    """Return all leases but `own`, which is put anew first, to know the store's time.

    Raises StorageError: a listing that fails is no sign that nobody is at work.
    """
    now = own.put()
    found = [info for info in store.list(LEASES) if parse(info.name).kind is Kind.LEASE]
    return tuple(
        Held(name=info.name, age=now - info.modified, document=_read(store, info))
        for info in found
        if not own.is_own(info.name)
    )


def refuse_while(leases: tuple[Held, ...], *purposes: Purpose) -> None:
    """Raise LockedByAnotherRun where somebody may be at work for one of these purposes."""
    for lease in leases:
        if lease.may_be(*purposes):
            raise LockedByAnotherRun(
                f"the repository is in use by {lease.holder}",
                hint="wait until it has ended, then again; a lease that nobody renews ends "
                f"after {LIFETIME.seconds // 60} minutes",
            )


def _read(store: ObjectStore, info: ObjectInfo) -> LeaseDocument | None:
    if info.size > _FORM.largest:
        return None
    try:
        return _FORM.decode(store.get(info.name), ()).document
    except StoreUnreachable:
        raise
    except (SnapshotDamaged, StorageError):
        return None
