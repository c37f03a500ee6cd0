"""Parts on their way to the store, while the rows of the next ones are read."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf

#: Opens a shelf of the caller's own; picklable.
OpenShelf = Callable[[], ObjectShelf]

#: COPY text that one object holds; a longer row is cut, as objects know nothing of rows.
PART_BYTES: Final = 16 * 1024 * 1024
#: Raw bytes under way at once; one part is always allowed.
_AHEAD_BYTES: Final = 24 * 1024 * 1024
#: Parts under way at once: a store may take a tenth of a second for each, however small it is.
_AHEAD_PARTS: Final = 16


class Storing:
    """Puts parts on a shelf in a few threads; used by the one thread that gives them.

    What goes wrong is raised to that thread: with a later part, or by whoever asks for the result.
    """

    def __init__(self, shelf: ObjectShelf) -> None:
        self.shelf = shelf
        self._pool = ThreadPoolExecutor(_AHEAD_PARTS, thread_name_prefix="storing")
        self._under_way: deque[tuple[int, Future[StoredPart]]] = deque()
        self._bytes = 0

    def put(self, raw: bytes, *, anew: bool = False) -> Future[StoredPart]:
        """Begin to store a part, once there is room for it; see `ObjectShelf.put`.

        Raises what storing an earlier one has raised.
        """
        while self._under_way and (self._under_way[0][1].done() or self._is_full(len(raw))):
            self._settle_oldest()
        future = self._pool.submit(self.shelf.put, raw, anew=anew)
        self._under_way.append((len(raw), future))
        self._bytes += len(raw)
        return future

    def settle(self) -> None:
        """Wait until all that was given is stored; raises what storing it has raised."""
        while self._under_way:
            self._settle_oldest()

    def abandon(self) -> None:
        """Forget what was given: what has not been begun is not stored."""
        for _, future in self._under_way:
            future.cancel()
        self._under_way.clear()
        self._bytes = 0

    def close(self) -> None:
        """Let what is being stored come to its end, and nothing else."""
        self.abandon()
        self._pool.shutdown(cancel_futures=True)

    def _is_full(self, more: int) -> bool:
        return len(self._under_way) >= _AHEAD_PARTS or self._bytes + more > _AHEAD_BYTES

    def _settle_oldest(self) -> None:
        size, future = self._under_way.popleft()
        self._bytes -= size
        future.result()
