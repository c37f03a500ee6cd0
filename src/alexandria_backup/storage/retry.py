"""A store that tries again where the store behind it cannot be reached, and says so."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alexandria_backup.errors import ObjectExists, StoreUnreachable
from alexandria_backup.events import Emit, Note, discard
from alexandria_backup.storage.store import ObjectInfo, ObjectStore
from alexandria_backup.storage.waiting import Waiting

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
    #: Seconds after which no further try is begun: what is silent for long has other troubles.
    whole: float = 120.0
    #: Seconds of silence after each of which it is told.
    quiet: float = 10.0

    def pauses(self) -> Iterator[float]:
        """Give the seconds to wait before each further try."""
        for number in range(self.tries - 1):
            whole = min(self.longest_pause, self.first_pause * 2**number)
            yield whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


class RetryingStore:
    """An `ObjectStore` that repeats a verb on `StoreUnreachable`, and on nothing else.

    A stream is repeated only while none of its chunks has been taken or given. A listing is read
    whole before its first entry is given. What is told are Notes: nothing is wrong yet.
    """

    def __init__(
        self,
        store: ObjectStore,
        patience: Patience | None = None,
        *,
        emit: Emit = discard,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._emit = emit
        self._patience = patience or Patience()
        self._sleep = sleep
        self.url = store.url

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`.

        A try whose answer was lost may have stored the object; if then the next try finds exactly
        these bytes, they are taken for ours.
        """
        tries = self._tries()
        with self._waiting():
            while True:
                try:
                    self._store.put(name, data)
                except StoreUnreachable as error:
                    tries.again(error)
                except ObjectExists:
                    if not tries.failed or self.get(name) != data:
                        raise
                    return
                else:
                    return

    def put_stream(
        self, name: str, chunks: Iterable[bytes], *, expected_size: int | None = None
    ) -> int:
        """See `ObjectStore.put_stream`."""
        tries = self._tries()
        with self._waiting() as waiting:
            source = _Watched(chunks, waiting)
            while True:
                try:
                    return self._store.put_stream(name, source, expected_size=expected_size)
                except StoreUnreachable as error:
                    if source.touched:
                        raise
                    tries.again(error)

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        return self._again(lambda: self._store.get(name))

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        chunks, chunk = self._again(lambda: self._begin(name, start))
        with self._waiting() as waiting:
            while chunk is not None:
                with waiting.paused():
                    yield chunk
                chunk = next(chunks, None)

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

    def _begin(self, name: str, start: int) -> tuple[Iterator[bytes], bytes | None]:
        chunks = self._store.read(name, start)
        return chunks, next(chunks, None)

    def _again(self, verb: Callable[[], T]) -> T:
        tries = self._tries()
        with self._waiting():
            while True:
                try:
                    return verb()
                except StoreUnreachable as error:
                    tries.again(error)

    def _waiting(self) -> Waiting:
        return Waiting(self.url, self._emit, every=self._patience.quiet)

    def _tries(self) -> "_Tries":
        return _Tries(self._patience, self._emit, self._sleep)


class _Tries:
    """The tries of one verb."""

    def __init__(self, patience: Patience, emit: Emit, sleep: Callable[[float], None]) -> None:
        self._pauses = patience.pauses()
        self._end = time.monotonic() + patience.whole
        self._emit = emit
        self._sleep = sleep
        #: Whether a try has failed before this one.
        self.failed = False

    def again(self, error: StoreUnreachable) -> None:
        """Wait before the next try; raises `error` where there is none."""
        pause = next(self._pauses, None)
        if pause is None or time.monotonic() + pause >= self._end:
            raise error
        self.failed = True
        self._emit(Note(message=f"{error.message}; trying again in {pause:.1f} s"))
        self._sleep(pause)


class _Watched:
    """Chunks that remember whether anybody has asked for one."""

    def __init__(self, chunks: Iterable[bytes], waiting: Waiting) -> None:
        self._chunks = iter(chunks)
        self._waiting = waiting
        self.touched = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.touched = True
        with self._waiting.paused():
            return next(self._chunks)
