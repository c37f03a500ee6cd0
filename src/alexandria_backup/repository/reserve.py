"""A little room, kept for the day on which the disk is full.

To remove snapshots, a lease, a tombstone and an entry of the ledger must be written first. On a
full disk none of them could be, and nothing could ever be removed again. So a repository on a disk
keeps some bytes that mean nothing, and gives them up when something is to be removed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from alexandria_backup.errors import StorageError
from alexandria_backup.repository.layout import RESERVE
from alexandria_backup.storage.store import ObjectStore

#: Bytes that are kept: a tombstone of some 50,000 objects fits.
RESERVE_BYTES: Final = 4 * 1024 * 1024


def keep_reserve(store: ObjectStore) -> None:
    """Put the reserve, where the store is a disk with room for it; without it all works as well."""
    with suppress(StorageError):
        free = store.free_bytes()
        if free is not None and free > 2 * RESERVE_BYTES and store.head(RESERVE) is None:
            # Chance, so that no file system makes nothing of it.
            store.put(RESERVE, os.urandom(RESERVE_BYTES))


@contextmanager
def room_to_remove(store: ObjectStore) -> Iterator[None]:
    """Give up the reserve while something is removed, where the disk is full; then put it again."""
    free = store.free_bytes()
    if free is not None and free < RESERVE_BYTES:
        store.delete(RESERVE)
    try:
        yield
    finally:
        keep_reserve(store)
