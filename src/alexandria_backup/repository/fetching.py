"""Reading many small documents of a store at once: a request each, a few at a time."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from alexandria_backup.errors import (
    ObjectMissing,
    RepositoryInvalid,
    StorageError,
    StoreUnreachable,
)
from alexandria_backup.storage.interruptible import awaited, begun
from alexandria_backup.storage.store import ObjectInfo, ObjectStore

#: Requests under way at once; the store's own wrappers wait and retry.
_AT_ONCE: Final = 8


def fetch_all(
    store: ObjectStore, infos: Iterable[ObjectInfo], *, largest: int
) -> Iterator[tuple[ObjectInfo, bytes | StorageError | RepositoryInvalid]]:
    """Give each document, in the order asked for, or what kept it from being read.

    One that is larger than `largest` bytes is not read; one that was removed since it was listed is
    left out. Raises StoreUnreachable: a store that is away says nothing about its documents.
    """
    wanted = list(infos)
    if len(wanted) == 1:
        found = _fetched(store, wanted[0], largest)
        if found is not None:
            yield wanted[0], found
        return
    answers = begun((partial(_fetched, store, one, largest) for one in wanted), at_once=_AT_ONCE)
    try:
        for info, answer in zip(wanted, answers, strict=True):
            found = awaited(answer)
            if found is not None:
                yield info, found
    finally:
        for answer in answers:
            answer.cancel()


def _fetched(
    store: ObjectStore, info: ObjectInfo, largest: int
) -> bytes | StorageError | RepositoryInvalid | None:
    if info.size > largest:
        return RepositoryInvalid(f"`{info.name}` has {info.size:,} bytes, too many for what it is")
    try:
        return store.get(info.name)
    except ObjectMissing:
        return None
    except StoreUnreachable:
        raise
    except StorageError as error:
        return error
