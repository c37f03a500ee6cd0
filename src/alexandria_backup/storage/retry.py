"""A store that tries again where the store behind it cannot be reached."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alexandria_backup.errors import ObjectExists, StoreUnreachable
from alexandria_backup.storage.store import ObjectInfo, ObjectStore

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and how long: pauses double, and each is shortened at random by up to a half."""

    #: Tries in all, the first one included.
    tries: int = 4
    #: Seconds before the second try.
    first_pause: float = 0.5
    #: Seconds that no pause exceeds.
    longest_pause: float = 10.0

    def pauses(self) -> Iterator[float]:
        """Give the seconds to wait before each further try."""
        for number in range(self.tries - 1):
            whole = min(self.longest_pause, self.first_pause * 2**number)
            yield whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


class RetryingStore:
    """An `ObjectStore` that repeats a verb on `StoreUnreachable`, and on nothing else.

    A stream is repeated only while none of its chunks has been taken or given. A listing is read
    whole before its first entry is given.
    """

    def __init__(
        self,
        store: ObjectStore,
        patience: Patience | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._patience = patience or Patience()
        self._sleep = sleep
        self.url = store.url

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`.

        A try whose answer was lost may have stored the object; if then the next try finds exactly
        these bytes, they are taken for ours.
        """
        failed_before = False
        pauses = self._patience.pauses()
        while True:
            try:
                self._store.put(name, data)
            except StoreUnreachable:
                failed_before = True
                pause = next(pauses, None)
                if pause is None:
                    raise
                self._sleep(pause)
            except ObjectExists:
                if not failed_before or self.get(name) != data:
                    raise
                return
            else:
                return

    def put_stream(
        self, name: str, chunks: Iterable[bytes], *, expected_size: int | None = None
    ) -> int:
        """See `ObjectStore.put_stream`."""
        source = _Watched(chunks)
        pauses = self._patience.pauses()
        while True:
            try:
                return self._store.put_stream(name, source, expected_size=expected_size)
            except StoreUnreachable:
                pause = None if source.touched else next(pauses, None)
                if pause is None:
                    raise
                self._sleep(pause)

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        return self._again(lambda: self._store.get(name))

    def read(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        chunks, first = self._again(lambda: self._begin(name))
        if first is not None:
            yield first
            yield from chunks

    def head(self, name: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        return self._again(lambda: self._store.head(name))

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        yield from self._again(lambda: [*self._store.list(prefix, recursive=recursive)])

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        self._again(lambda: self._store.delete(name))

    def local_path(self, name: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        return self._again(lambda: self._store.local_path(name))

    def free_bytes(self) -> int | None:
        """See `ObjectStore.free_bytes`."""
        return self._again(self._store.free_bytes)

    def _begin(self, name: str) -> tuple[Iterator[bytes], bytes | None]:
        chunks = self._store.read(name)
        return chunks, next(chunks, None)

    def _again(self, verb: Callable[[], T]) -> T:
        for pause in self._patience.pauses():
            try:
                return verb()
            except StoreUnreachable:
                self._sleep(pause)
        return verb()


class _Watched:
    """Chunks that remember whether anybody has asked for one."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.touched = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.touched = True
        return next(self._chunks)
