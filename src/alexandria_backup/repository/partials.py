"""Partials: what an unfinished snapshot has stored so far, for the next one to find.

While a snapshot is taken, the parts it has stored are written down every now and then. Where it is
interrupted, the next one reuses them, and no prune sweeps them meanwhile. Once a manifest names the
parts, the partials are removed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from alexandria_backup.errors import SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.repository.description import RepositoryId
from alexandria_backup.repository.documents import Form, refuse_foreign
from alexandria_backup.repository.fetching import fetch_all
from alexandria_backup.repository.layout import PARTIALS, Kind, parse, partial_name
from alexandria_backup.repository.manifest_parts import Instant, Part, PlainName, StoredPart
from alexandria_backup.sealing.signing import SigningKey, TrustedKey
from alexandria_backup.storage.store import ObjectInfo, ObjectStore

#: After so long nobody goes on: a prune removes them, and what only they name.
KEPT_FOR: Final = timedelta(days=14)


class Partial(Part):
    """Some of the parts that one run has stored."""

    role: Literal["partial"] = "partial"
    format: Literal[1] = 1
    repository: RepositoryId
    run: PlainName
    at: Instant
    #: `age1…` of who can read them.
    recipients: tuple[str, ...]
    parts: tuple[StoredPart, ...]


_FORM: Final = Form(role="partial", model=Partial, version=1, largest=64 << 20)


@dataclass(frozen=True, kw_only=True)
class FoundPartial:
    """A partial as it lies in the store."""

    info: ObjectInfo
    #: None where it cannot be read or believed.
    partial: Partial | None
    problem: str | None


class PartialWriter:
    """Writes down what one run has stored; used by the process that coordinates it."""

    def __init__(
        self,
        store: ObjectStore,
        repository: str,
        key: SigningKey | None,
        *,
        run: str,
        recipients: Sequence[str],
    ) -> None:
        self._store = store
        self._repository = repository
        self._key = key
        self._run = run
        self._recipients = tuple(recipients)
        self._written: list[str] = []

    def write(self, parts: Iterable[StoredPart]) -> None:
        """Write down parts that are stored; call it every minute or so, each part once."""
        partial = Partial(
            repository=self._repository,
            run=self._run,
            at=datetime.now(UTC),
            recipients=self._recipients,
            parts=tuple(parts),
        )
        if not partial.parts:
            return
        name = partial_name(self._run, len(self._written) + 1)
        self._store.put(name, _FORM.encode(partial, self._key))
        self._written.append(name)

    def remove(self) -> None:
        """Remove them, once the manifest is put and settled; an error leaves them to a prune."""
        for name in self._written:
            self._store.delete(name)
        self._written.clear()


def found_partials(
    store: ObjectStore, repository: str, trusted: Sequence[TrustedKey]
) -> tuple[FoundPartial, ...]:
    """Return all partials; what is wrong with one stands in its place. Raises StorageError."""
    listed = [i for i in store.list(PARTIALS) if parse(i.name).kind is Kind.PARTIAL]
    return tuple(
        _found(info, data, repository, trusted)
        for info, data in fetch_all(store, listed, largest=_FORM.largest)
    )


def reusable(partials: Iterable[FoundPartial], recipients: Sequence[str]) -> dict[str, StoredPart]:
    """Return the parts that all of `recipients` can read, by their raw digest.

    Whether their objects are there, and are not doomed, the caller asks.
    """
    return {
        part.raw_digest: part
        for found in partials
        if found.partial and set(recipients) <= set(found.partial.recipients)
        if bool(recipients) == bool(found.partial.recipients)
        for part in found.partial.parts
    }


def _found(
    info: ObjectInfo,
    data: bytes | StorageError | SnapshotDamaged,
    repository: str,
    trusted: Sequence[TrustedKey],
) -> FoundPartial:
    try:
        if not isinstance(data, bytes):
            raise data
        partial = _FORM.decode(data, trusted).document
        refuse_foreign(repository, partial.repository, "the partial")
        if partial.run != parse(info.name).key:
            raise _FORM.invalid(f"the partial is one of run `{partial.run}`")
    except (SnapshotDamaged, StorageError, WrongKey) as error:
        return FoundPartial(info=info, partial=None, problem=error.message)
    return FoundPartial(info=info, partial=partial, problem=None)
