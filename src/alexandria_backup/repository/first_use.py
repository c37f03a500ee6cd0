"""Whom a repository names when a machine uses it for the first time: also after a change of keys.

`repository.json` is written once and names the first keys. Later ones stand in the ledger, and are
believed where a key signed them that was believed before: whoever may only add objects to a place
cannot make a new machine trust him.
"""

from collections.abc import Sequence
from typing import Final

from alexandria_backup.errors import StorageError, WrongKey
from alexandria_backup.repository.access import Access
from alexandria_backup.repository.description import Description
from alexandria_backup.repository.ledger import Ledger
from alexandria_backup.repository.ledger_entry import Action, LedgerEntry
from alexandria_backup.sealing.signing import TrustedKey
from alexandria_backup.storage.store import ObjectStore

#: What names keys: whoever believes none of the entries before has begun a ledger anew.
_NAMING: Final = frozenset({Action.INIT, Action.KEYS})
#: Changes that are followed one after the other; a person makes few of them.
_MOST: Final = 100
_DOUBT: Final = (
    "the keys were changed after `repository.json` was written, by a key that the ones before do "
    "not vouch for: set `signing.trusted_keys` and `encryption.recipients`"
)


def newest_hints(store: ObjectStore, description: Description) -> tuple[Description, str | None]:
    """Return a description with the newest keys that can be believed, and a doubt if there is one.

    Where the ledger cannot be read, the description stands as it is.
    """
    try:
        every = _changes(store, description.id, ())
        for _ in range(min(len(every), _MOST)):
            trusted = [TrustedKey.parse(text) for text in description.trusted_keys]
            believed = _changes(store, description.id, trusted)
            found = _with_keys(description, believed[-1]) if believed else description
            if found == description:
                break
            description = found
    except (StorageError, WrongKey):
        return description, None
    if every and _with_keys(description, every[-1]) != description:
        return description, _DOUBT
    return description, None


def _changes(
    store: ObjectStore, repository: str, trusted: Sequence[TrustedKey]
) -> list[LedgerEntry]:
    """Return the entries about changed keys, oldest first; of anybody where none is trusted."""
    access = Access(store=store, repository=repository, trusted=tuple(trusted), key=None)
    entries = Ledger(access).read().entries.values()
    return [entry for entry in entries if entry.action in _NAMING]


def _with_keys(description: Description, entry: LedgerEntry) -> Description:
    named = {
        field: tuple(entry.details.get(field, "").split())
        for field in ("recipients", "trusted_keys")
    }
    return description.model_copy(update=named)
