"""The ledger: the repository's own chain of what happened in it.

Each entry names, by digest, every head its writer saw: every entry that no other had named yet. Two
machines may write at once: the chain forks, the next entry sees both heads and joins them, and
nothing rests on a lock. An entry that is altered no longer fits its name, one that is removed is
missed by whoever named it, and only the loss of the very newest shows against a head kept
elsewhere: every run prints the head, and this machine pins it.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from alexandria_backup.errors import ObjectExists
from alexandria_backup.repository.access import Access
from alexandria_backup.repository.layout import LEDGER, Kind, ledger_name, parse
from alexandria_backup.repository.ledger_entry import FORM, REMOVALS, Action, LedgerEntry, new_entry
from alexandria_backup.storage.store import ObjectInfo

#: How many of the newest entries are read before it is worth reading all of them.
_NEWEST: Final = 16


@dataclass(frozen=True, kw_only=True)
class LedgerReport:
    """The whole ledger, as far as it can be believed."""

    #: By digest, oldest first by their own clocks.
    entries: dict[str, LedgerEntry]
    #: What no entry names: usually one.
    heads: tuple[str, ...]
    #: What is wrong, in one line each.
    problems: tuple[str, ...]

    @property
    def taken(self) -> dict[str, LedgerEntry]:
        """The snapshots that were completed, and the entries that say so."""
        return self._about({Action.SNAPSHOT})

    @property
    def removed(self) -> dict[str, LedgerEntry]:
        """The snapshots that are rightly gone, with the entry that has rule or reason."""
        return self._about(REMOVALS)

    def _about(self, actions: set[Action] | frozenset[Action]) -> dict[str, LedgerEntry]:
        return {
            snapshot: entry
            for entry in self.entries.values()
            if entry.action in actions
            for snapshot in entry.snapshots
        }


class Ledger:
    """The ledger of one repository."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def append(
        self,
        action: Action,
        *,
        snapshots: tuple[str, ...] = (),
        reason: str | None = None,
        details: Mapping[str, str] | None = None,
        run: str | None = None,
    ) -> str:
        """Write an entry that names all heads there are, and return its digest: the new head.

        WrongKey where entries must be signed and there is no key. An entry that is damaged does not
        keep others from being written: `read` and `repository check` tell of it.
        """
        listed = self._listed()
        entry = new_entry(
            self._access.repository,
            action,
            snapshots=snapshots,
            reason=reason,
            details=details or {},
            heads=self._heads(listed),
            entries=len(listed),
            run=run,
        )
        data = self._access.encode(FORM, entry)
        digest = sha256(data).hexdigest()
        try:
            self._access.store.put(ledger_name(entry.at, digest), data)
        except ObjectExists:
            # The name is the digest: it can only be this very entry, stored by a try whose answer
            # was lost.
            return digest
        return digest

    def heads(self) -> tuple[str, ...]:
        """Return the digests of all entries that no other names, reading as little as possible."""
        return self._heads(self._listed())

    def read(self) -> LedgerReport:
        """Read and verify all of it. What is wrong is reported; raises StorageError alone."""
        listed = self._listed()
        entries, problems = self._verified(listed)
        gaps = _gaps(entries, {parse(info.name).key for info in listed})
        return LedgerReport(entries=entries, heads=_heads_of(entries), problems=(*problems, *gaps))

    def _listed(self) -> list[ObjectInfo]:
        """List the entries, oldest first; what has another name is foreign, and no entry."""
        found = sorted(self._access.store.list(LEDGER), key=lambda info: info.name)
        return [info for info in found if parse(info.name).kind is Kind.LEDGER_ENTRY]

    def _heads(self, listed: list[ObjectInfo]) -> tuple[str, ...]:
        """Read from the newest backwards, until an entry accounts for all that is unread.

        An entry tells how many there were before it. Where that is the number of those that are
        unread, they are its ancestors, and so no heads: usually the newest entry alone says so.
        """
        for most in (1, _NEWEST):
            newest = listed[-most:]
            read, _ = self._verified(newest)
            for size in range(1, len(newest) + 1):
                oldest = read.get(parse(newest[-size].name).key)
                if oldest is None:
                    break
                if oldest.entries == len(listed) - size:
                    later = {parse(info.name).key for info in newest[-size:]}
                    return _heads_of({d: entry for d, entry in read.items() if d in later})
        return _heads_of(self._verified(listed)[0])

    def _verified(self, listed: Sequence[ObjectInfo]) -> tuple[dict[str, LedgerEntry], list[str]]:
        entries: dict[str, LedgerEntry] = {}
        problems: list[str] = []
        for found in self._access.read_all(FORM, listed, self._opened):
            if found.document is not None:
                entries[parse(found.name).key] = found.document
            else:
                problems.append(f"`{found.name}`: {found.problem}")
        return entries, problems

    def _opened(self, info: ObjectInfo, data: bytes) -> LedgerEntry:
        digest = parse(info.name).key
        if sha256(data).hexdigest() != digest:
            raise FORM.invalid("the ledger entry was altered: its SHA-256 is not its name")
        entry = self._access.decode(FORM, data)
        if info.name != ledger_name(entry.at, digest):
            raise FORM.invalid("the ledger entry was moved: its name has another time")
        return entry


def _heads_of(entries: Mapping[str, LedgerEntry]) -> tuple[str, ...]:
    named = {head for entry in entries.values() for head in entry.heads}
    return tuple(digest for digest in entries if digest not in named)


def _gaps(entries: Mapping[str, LedgerEntry], listed: Container[str]) -> list[str]:
    """Say which entries somebody names and nobody has, and whether there are two beginnings."""
    problems = [
        f"the entry `{head[:12]}…` is missing; `{digest[:12]}…` of {entry.at:%Y-%m-%d %H:%M} "
        "was written after it"
        for digest, entry in entries.items()
        for head in entry.heads
        if head not in listed
    ]
    first = [digest for digest, entry in entries.items() if not entry.heads]
    if len(first) > 1:
        shown = ", ".join(f"`{digest[:12]}…`" for digest in first[:3])
        problems.append(f"the ledger begins {len(first)} times, with {shown}")
    return problems
