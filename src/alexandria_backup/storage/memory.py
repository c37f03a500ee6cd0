"""Objects in the memory of this process: for tests, trials and what need not outlive a run."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alexandria_backup.errors import ObjectExists, ObjectMissing
from alexandria_backup.storage.store import ObjectInfo, check_name, check_prefix

_CHUNK = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class _Kept:
    data: bytes
    modified: datetime


class MemoryStore:
    """An `ObjectStore` that forgets everything when it is dropped."""

    def __init__(self) -> None:
        self._objects: dict[str, _Kept] = {}
        self._lock = threading.Lock()
        self.url = "memory:"

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        check_name(name)
        with self._lock:
            if name in self._objects:
                raise ObjectExists(f"`{name}` exists already in memory")
            self._objects[name] = _Kept(data=bytes(data), modified=datetime.now(UTC))

    def put_stream(
        self,
        name: str,
        chunks: Iterable[bytes],
        *,
        expected_size: int | None = None,  # noqa: ARG002 - memory has no parts
    ) -> int:
        """See `ObjectStore.put_stream`."""
        if self.head(name) is not None:
            raise ObjectExists(f"`{name}` exists already in memory")
        data = b"".join(chunks)
        self.put(name, data)
        return len(data)

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        check_name(name)
        kept = self._objects.get(name)
        if kept is None:
            raise ObjectMissing(f"`{name}` is not in memory")
        return kept.data

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        data = self.get(name)
        for position in range(start, len(data), _CHUNK):
            yield data[position : position + _CHUNK]

    def head(self, name: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        check_name(name)
        kept = self._objects.get(name)
        return _info(name, kept) if kept else None

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        check_prefix(prefix)
        with self._lock:
            found = sorted(self._objects.items())
        for name, kept in found:
            if name.startswith(prefix) and (recursive or "/" not in name[len(prefix) :]):
                yield _info(name, kept)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        check_name(name)
        with self._lock:
            self._objects.pop(name, None)

    def local_path(self, name: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        check_name(name)
        return None

    def free_bytes(self) -> int | None:
        """See `ObjectStore.free_bytes`."""
        return None


def _info(name: str, kept: _Kept) -> ObjectInfo:
    return ObjectInfo(name=name, size=len(kept.data), modified=kept.modified)
