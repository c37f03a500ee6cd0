"""A store that fails on purpose, for tests and campaigns: on a chosen call of a chosen verb."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal, TypeVar

from alexandria_backup.errors import StorageError, StoreUnreachable
from alexandria_backup.storage.store import ObjectInfo, ObjectStore

T = TypeVar("T")
Verb = Literal["put", "put_stream", "get", "read", "head", "list", "delete"]


class How(Enum):
    """In which way a call fails."""

    #: The error comes before anything happens.
    BEFORE = "before"
    #: The error comes although the call took effect: an answer that was lost.
    AFTER = "after"
    #: The error comes in the middle: after the first chunk, entry or half of a small object.
    MIDDLE = "middle"
    #: No error: what is read just ends early, as from a server that lies.
    SHORT = "short"
    #: No error, but `seconds` pass first.
    SLOW = "slow"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One failure: of which call of which verb, and how."""

    verb: Verb
    how: How
    #: The n-th call of this verb fails, counted from 1; 0: every call.
    call: int = 1
    #: What is raised.
    error: type[StorageError] = StoreUnreachable
    #: For `How.SLOW`.
    seconds: float = 0.0


class FaultyStore:
    """An `ObjectStore` that passes everything on, except for its faults."""

    def __init__(
        self,
        store: ObjectStore,
        faults: Sequence[Fault],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._faults = faults
        self._sleep = sleep
        #: How often each verb was called.
        self.calls: Counter[str] = Counter()
        self.url = store.url

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`; a small object has no middle, so `MIDDLE` is `BEFORE`."""
        with self._call("put", name) as fault:
            if fault and fault.how is How.MIDDLE:
                raise _error(fault, name)
            self._store.put(name, data)

    def put_stream(
        self, name: str, chunks: Iterable[bytes], *, expected_size: int | None = None
    ) -> int:
        """See `ObjectStore.put_stream`; `SHORT` does not apply."""
        with self._call("put_stream", name) as fault:
            if fault and fault.how is How.MIDDLE:
                chunks = _broken(iter(chunks), _error(fault, name))
            return self._store.put_stream(name, chunks, expected_size=expected_size)

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        with self._call("get", name) as fault:
            data = self._store.get(name)
            if fault and fault.how is How.MIDDLE:
                raise _error(fault, name)
            return data[: len(data) // 2] if fault and fault.how is How.SHORT else data

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        with self._call("read", name) as fault:
            yield from _cut_short(self._store.read(name, start), fault, name)

    def head(self, name: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        with self._call("head", name):
            return self._store.head(name)

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        with self._call("list", prefix) as fault:
            found = self._store.list(prefix, recursive=recursive)
            if fault and fault.how is How.MIDDLE:
                yield from _broken(found, _error(fault, prefix))
            elif fault and fault.how is How.SHORT:
                yield from [*found][:-1]
            else:
                yield from found

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        with self._call("delete", name):
            self._store.delete(name)

    def local_path(self, name: str) -> Path | None:
        """See `ObjectStore.local_path`; None, so that all reading goes through the faults."""
        self._store.local_path(name)
        return None

    def free_bytes(self) -> int | None:
        """See `ObjectStore.free_bytes`."""
        return self._store.free_bytes()

    @contextmanager
    def _call(self, verb: Verb, name: str) -> Iterator[Fault | None]:
        """Find the fault of this call, and do what of it lies around the call."""
        self.calls[verb] += 1
        number = self.calls[verb]
        fault = next((f for f in self._faults if f.verb == verb and f.call in {0, number}), None)
        if fault and fault.how is How.SLOW:
            self._sleep(fault.seconds)
        if fault and fault.how is How.BEFORE:
            raise _error(fault, name)
        yield fault
        if fault and fault.how is How.AFTER:
            raise _error(fault, name)


def _error(fault: Fault, name: str) -> StorageError:
    return fault.error(f"`{fault.verb}` of `{name}` failed on purpose")


def _broken(items: Iterator[T], error: StorageError) -> Iterator[T]:
    first = next(items, None)
    if first is not None:
        yield first
    raise error


def _cut_short(chunks: Iterator[bytes], fault: Fault | None, name: str) -> Iterator[bytes]:
    if fault is None or fault.how not in {How.MIDDLE, How.SHORT}:
        yield from chunks
        return
    first = next(chunks, b"")
    if half := first[: len(first) // 2]:
        yield half
    if fault.how is How.MIDDLE:
        raise _error(fault, name)
