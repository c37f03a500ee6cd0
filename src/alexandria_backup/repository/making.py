"""Making a repository, and changing its keys: nothing is left to a later surprise.

Before anything is written that counts, the keys and the place are tried: what is sealed to the
recipients is opened again with the identity, and an object is put, read, listed and removed.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final
from uuid import uuid4

from alexandria_backup.errors import (
    ObjectExists,
    PrecheckRefused,
    RepositoryInvalid,
    StorageError,
    WrongKey,
)
from alexandria_backup.repository.description import (
    FORM,
    Description,
    new_description,
    read_description,
)
from alexandria_backup.repository.layout import DESCRIPTION, LEASES, Kind, lease_name, parse
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.opened import Repository, open_repository
from alexandria_backup.repository.reserve import keep_reserve
from alexandria_backup.repository.trust import Keys, Pins, pinned
from alexandria_backup.sealing.encryption import seal, unseal
from alexandria_backup.storage.store import ObjectStore

#: What may lie in a place before it is a repository: journals go there, and trials were.
_HARMLESS: Final = {Kind.JOURNAL, Kind.LEASE, Kind.RESERVE}


@dataclass(frozen=True, kw_only=True)
class Made:
    """What `repository init` did."""

    repository: Repository
    #: False where it was a repository already.
    created: bool
    #: Whether recipients or trusted keys are others from now on.
    keys_changed: bool
    #: The ledger's heads: its newest entries.
    heads: tuple[str, ...]


def make_repository(
    store: ObjectStore, keys: Keys, pins: Pins, *, place_exists: bool = True
) -> Made:
    """Make a repository of a place, or take over other keys of the settings; twice is fine.

    `place_exists` is False for a folder that is not there yet. Raises WrongKey where the keys do
    not do, PrecheckRefused where the place holds anything else, RepositoryInvalid where it holds
    what a repository has lost its description of, StorageError where the place does not do.
    """
    _try_keys(keys)
    found = read_description(store) if place_exists else None
    if found is None:
        _refuse_lost(store, pins)
        if place_exists:
            _refuse_other_things(store)
    _try_place(store)
    created = found is None
    keep_reserve(store)
    if found is None:
        found = _describe(store, keys)
        pins.write(pinned(store.url, found.id, keys.recipients, keys.believed))
    return _settled(store, keys, pins, created=created)


def _settled(store: ObjectStore, keys: Keys, pins: Pins, *, created: bool) -> Made:
    """Pin the keys, and write down that they are the ones from now on."""
    repository = open_repository(store, keys, pins)
    before = repository.settled.pin
    wanted = pinned(
        store.url, repository.id, repository.recipients, repository.trusted, before.heads
    )
    changed = (set(before.recipients), set(before.trusted_keys)) != (
        set(wanted.recipients),
        set(wanted.trusted_keys),
    )
    if changed:
        pins.write(wanted)
        repository = open_repository(store, keys, pins)
    repository.require_writable()
    heads = repository.ledger.heads()
    if changed or not heads:
        head = repository.ledger.append(
            Action.KEYS if heads else Action.INIT,
            details={
                "recipients": " ".join(wanted.recipients),
                "trusted_keys": " ".join(wanted.trusted_keys),
            },
        )
        heads = (head,)
    repository.remember(heads)
    return Made(repository=repository, created=created, keys_changed=changed, heads=heads)


def _try_keys(keys: Keys) -> None:
    """Seal to the recipients and open it again: a backup that nobody can open is none."""
    if not keys.recipients:
        return
    if keys.signing is None:
        raise WrongKey(
            "an encrypted repository needs a signing key, too: whoever knows the recipients could "
            "otherwise put snapshots of their own there",
            hint="set `signing.key_file`, or make keys: alexandria repository init --new-keys DIR",
        )
    if not keys.identities:
        raise WrongKey(
            "before anything is sealed, an identity must show that it can be opened again",
            hint="set `encryption.identity_file` for this one command",
        )
    trial = secrets.token_bytes(64)
    if unseal(seal(trial, keys.recipients), keys.identities) != trial:
        raise WrongKey("what was sealed to the recipients does not open to the same bytes again")


def _refuse_lost(store: ObjectStore, pins: Pins) -> None:
    pin = pins.read(store.url)
    if pin is not None:
        raise RepositoryInvalid(
            f"this machine knows repository `{pin.repository}` in `{store.url}`, "
            "and it is not there",
            hint=f"mount its disk; or, where it is gone for good: rm {pins.path(store.url)}",
        )


def _refuse_other_things(store: ObjectStore) -> None:
    """Refuse a place that holds anything but what lies there before a repository does."""
    others = (i.name for i in store.list() if parse(i.name).kind not in _HARMLESS)
    first = tuple(islice(others, 3))
    if not first:
        return
    shown = ", ".join(f"`{name}`" for name in first)
    if all(parse(name).kind is not Kind.FOREIGN for name in first):
        raise RepositoryInvalid(
            f"`{store.url}` holds {shown} of a repository that has lost its `{DESCRIPTION}`",
            hint=f"put back a copy of `{DESCRIPTION}`; nothing else is needed",
        )
    raise PrecheckRefused(
        f"`{store.url}` is not empty: it holds {shown}",
        hint="export ALEXANDRIA_REPOSITORY=…   # an empty folder or prefix",
    )


def _try_place(store: ObjectStore) -> None:
    """Put, read, list and remove an object, so that a missing right shows now."""
    name, data = lease_name(str(uuid4())), secrets.token_bytes(64)
    store.put(name, data)
    try:
        if store.get(name) != data:
            raise StorageError(f"`{store.url}` gives back other bytes than were stored there")
        if all(info.name != name for info in store.list(LEASES)):
            raise StorageError(f"`{store.url}` does not list what was just stored there")
    finally:
        store.delete(name)


def _describe(store: ObjectStore, keys: Keys) -> Description:
    """Put `repository.json`, and return what is there: another may have been faster."""
    mine = new_description(
        tuple(str(recipient) for recipient in keys.recipients),
        tuple(str(key) for key in keys.believed),
    )
    with suppress(ObjectExists):
        store.put(DESCRIPTION, FORM.encode(mine, keys.signing))
    found = read_description(store)
    if found is None:
        raise StorageError(f"`{DESCRIPTION}` was put into `{store.url}`, and is not there")
    return found
