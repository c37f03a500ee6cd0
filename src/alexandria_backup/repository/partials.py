"""Partials: what an unfinished snapshot has stored so far, for the next one to find.

While a snapshot is taken, the parts it has stored are written down every now and then. Where it is
interrupted, the next one reuses them, and no prune sweeps them meanwhile. Once a manifest names the
parts, the partials are removed.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Literal

from alexandria_backup.repository.access import Access, Found, Owned
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.layout import PARTIALS, Kind, parse, partial_name
from alexandria_backup.repository.manifest_parts import Instant, PlainName, StoredPart
from alexandria_backup.storage.store import ObjectInfo

#: After so long nobody goes on: a prune removes them, and what only they name.
KEPT_FOR: Final = timedelta(days=14)


class Partial(Owned):
    """Some of the parts that one run has stored."""

    role: Literal["partial"] = "partial"
    format: Literal[1] = 1
    run: PlainName
    at: Instant
    #: `age1…` of who can read them.
    recipients: tuple[str, ...]
    parts: tuple[StoredPart, ...]


_FORM: Final = Form(role="partial", model=Partial, version=1, largest=64 << 20)


class PartialWriter:
    """Writes down what one run has stored; used by the process that coordinates it."""

    def __init__(self, access: Access, *, run: str, recipients: Sequence[str]) -> None:
        self._access = access
        self._run = run
        self._recipients = tuple(recipients)
        self._written: list[str] = []

    def write(self, parts: Iterable[StoredPart]) -> None:
        """Write down parts that are stored; call it every minute or so, each part once."""
        document = Partial(
            repository=self._access.repository,
            run=self._run,
            at=datetime.now(UTC),
            recipients=self._recipients,
            parts=tuple(parts),
        )
        if not document.parts:
            return
        name = partial_name(self._run, len(self._written) + 1)
        self._access.store.put(name, self._access.encode(_FORM, document))
        self._written.append(name)

    def remove(self) -> None:
        """Remove them, once the manifest is put and settled; an error leaves them to a prune."""
        for name in self._written:
            self._access.store.delete(name)
        self._written.clear()


def found_partials(access: Access) -> tuple[Found[Partial], ...]:
    """Return all partials; what is wrong with one stands in its place. Raises StorageError."""
    listed = [i for i in access.store.list(PARTIALS) if parse(i.name).kind is Kind.PARTIAL]
    return tuple(access.read_all(_FORM, listed, partial(_opened, access)))


def reusable(
    partials: Iterable[Found[Partial]], recipients: Sequence[str]
) -> dict[str, StoredPart]:
    """Return the parts that all of `recipients` can read, by their raw digest.

    Whether their objects are there, and are not doomed, the caller asks.
    """
    return {
        part.raw_digest: part
        for found in partials
        if found.document and set(recipients) <= set(found.document.recipients)
        if bool(recipients) == bool(found.document.recipients)
        for part in found.document.parts
    }


def _opened(access: Access, info: ObjectInfo, data: bytes) -> Partial:
    found = access.decode(_FORM, data)
    if found.run != parse(info.name).key:
        raise _FORM.invalid(f"the partial is one of run `{found.run}`")
    return found
