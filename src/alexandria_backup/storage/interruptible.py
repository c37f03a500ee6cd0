"""A store whose silence an interrupt ends at once.

A vendor's library, or the kernel with a network folder, waits without hearing Python's signals: a
Ctrl-C is answered when the answer comes. So that the main thread, which hears them, waits for
another thread instead, and leaves that one behind where it is interrupted.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from alexandria_backup.storage.store import ObjectInfo, ObjectStore

T = TypeVar("T")

#: Seconds between two looks for a signal that came at the wrong moment.
_LOOK_S: Final = 0.5
#: Seconds in which a verb may come to its end after an interrupt: most do, and leave nothing open.
_GRACE_S: Final = 1.0


class InterruptibleStore:
    """An `ObjectStore` that the main thread can leave at any time; other threads go straight to it.

    What an interrupted verb has begun may still be done, as when the program is killed.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.url = store.url

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        interruptible(lambda: self._store.put(name, data))

    def put_stream(
        self, name: str, chunks: Iterable[bytes], *, expected_size: int | None = None
    ) -> int:
        """See `ObjectStore.put_stream`; not left behind, as the chunks are the caller's."""
        return self._store.put_stream(name, chunks, expected_size=expected_size)

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        return interruptible(lambda: self._store.get(name))

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        chunks = self._store.read(name, start)
        while (chunk := interruptible(lambda: next(chunks, None))) is not None:
            yield chunk

    def head(self, name: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        return interruptible(lambda: self._store.head(name))

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; it is read whole before its first entry is given."""
        yield from interruptible(lambda: [*self._store.list(prefix, recursive=recursive)])

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        interruptible(lambda: self._store.delete(name))

    def local_path(self, name: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        return interruptible(lambda: self._store.local_path(name))

    def free_bytes(self) -> int | None:
        """See `ObjectStore.free_bytes`."""
        return interruptible(self._store.free_bytes)


def interruptible(verb: Callable[[], T]) -> T:
    """Return what `verb` returns; where the main thread is interrupted, `verb` is left behind."""
    if threading.current_thread() is not threading.main_thread():
        return verb()
    answer: Future[T] = Future()
    thread = threading.Thread(target=_answer, args=(verb, answer), name="store", daemon=True)
    thread.start()
    try:
        return awaited(answer)
    finally:
        # At once where it has answered.
        thread.join(_GRACE_S)


def awaited(answer: Future[T]) -> T:
    """Return an answer when it comes, and hear signals meanwhile.

    One that arrives just before Python begins to wait for a lock does not end that wait.
    """
    while not answer.done():
        wait((answer,), _LOOK_S)
    return answer.result()


def begun(verbs: Iterable[Callable[[], T]], *, at_once: int) -> "list[Future[T]]":
    """Begin the verbs, `at_once` at a time, and return their answers in this order.

    Nobody waits for their threads at the program's end, as for those of a ThreadPoolExecutor.
    """
    waiting = SimpleQueue[tuple[Callable[[], T], Future[T]]]()
    answers: list[Future[T]] = []
    for verb in verbs:
        answers.append(Future())
        waiting.put((verb, answers[-1]))
    for _ in range(min(at_once, len(answers))):
        threading.Thread(target=_work_off, args=(waiting,), name="store", daemon=True).start()
    return answers


def _work_off(waiting: "SimpleQueue[tuple[Callable[[], T], Future[T]]]") -> None:
    with suppress(Empty):
        while True:
            verb, answer = waiting.get_nowait()
            # Nobody wants it any more where it was cancelled.
            if answer.set_running_or_notify_cancel():
                _answer(verb, answer)


def _answer(verb: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(verb())
    except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
        answer.set_exception(error)
