"""Parts of a snapshot in the order of their use, read ahead by a few threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from types import TracebackType
from typing import Final, Self

from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf, OpenedPart
from alexandria_backup.sealing.encryption import Identity

#: Raw bytes that may be on their way or wait; one part is always allowed.
_AHEAD_BYTES: Final = 16 * 1024 * 1024


class PartReaders:
    """A few threads that read parts, each with a shelf of its own; a context manager."""

    def __init__(
        self,
        open_shelf: Callable[[], ObjectShelf],
        identities: Sequence[Identity] = (),
        *,
        threads: int,
    ) -> None:
        self._open_shelf = open_shelf
        self._identities = identities
        self._threads = threads
        self._own = local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="parts")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def in_order(self, parts: Iterable[StoredPart]) -> Iterator[tuple[StoredPart, OpenedPart]]:
        """Yield `parts`, checked; several sequences may be read in turn.

        What reading a part raises is raised in its place. Nothing is read before the first is
        asked for.
        """
        source = iter(parts)
        waiting: deque[tuple[StoredPart, Future[OpenedPart]]] = deque()
        ahead = 0
        while True:
            while not waiting or (ahead < _AHEAD_BYTES and len(waiting) <= self._threads):
                part = next(source, None)
                if part is None:
                    break
                waiting.append((part, self._pool.submit(self._read, part)))
                ahead += part.raw_bytes
            if not waiting:
                return
            part, future = waiting.popleft()
            ahead -= part.raw_bytes
            yield part, future.result()

    def _read(self, part: StoredPart) -> OpenedPart:
        shelf: ObjectShelf | None = getattr(self._own, "shelf", None)
        if shelf is None:
            shelf = self._own.shelf = self._open_shelf()
        return shelf.get_both(part, self._identities)
