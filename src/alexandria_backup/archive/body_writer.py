"""The bodies of an archive on their way out: chunks, terminators, and segments made by threads.

What is to be written is a sequence of items: bytes as they are, segments that a thread compresses,
the end of a body, and whatever the caller wants to be told when its turn comes. Segments of any
body are compressed ahead, so that many small tables keep all threads busy, too; what comes out is
in order.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from alexandria_backup.archive.compression import (
    EMPTY_ADLER,
    BodyCodec,
    Segment,
    combined_adler32,
    segments,
)
from alexandria_backup.archive.primitives import integer


class BodyEnd:
    """Stands where a compressed body ends."""


#: Something that is handed back in its place.
Marker = TypeVar("Marker")
Item = bytes | Future[Segment] | BodyEnd


class BodyWriter(Generic[Marker]):
    """Writes bodies one after the other; a context manager that ends its threads."""

    def __init__(self, codec: BodyCodec, *, int_size: int, threads: int) -> None:
        self._codec = codec
        self._int_size = int_size
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="compress")
        #: Items that may wait for the first of them.
        self._ahead = 4 * threads
        #: Of the body that is being handed out.
        self._adler32 = EMPTY_ADLER

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def chunk(self, stored: bytes) -> bytes:
        """Return a chunk, which must not be empty: that would be the end."""
        return integer(len(stored), self._int_size) + stored

    def copied(self, chunks: Iterable[bytes]) -> Iterator[Item]:
        """Yield a whole body of chunks that are stored already."""
        for stored in chunks:
            yield self.chunk(stored)
        yield integer(0, self._int_size)

    def compressed(self, text: Iterable[bytes]) -> Iterator[Item]:
        """Yield a whole body of `text`; or the rest of one whose algorithm begins with nothing."""
        if self._codec.beginning:
            yield self.chunk(self._codec.beginning)
        for data in segments(text):
            if self._codec.parallel:
                yield self._pool.submit(self._codec.segment, data)
            else:
                yield self.chunk(self._codec.segment(data).stored)
        yield BodyEnd()

    def in_order(self, items: Iterable[Item | Marker]) -> Iterator[bytes | Marker]:
        """Yield the bytes of `items`, and each marker where it stands."""
        waiting: deque[Item | Marker] = deque()
        for item in items:
            waiting.append(item)
            while waiting and (_is_ready(waiting[0]) or len(waiting) > self._ahead):
                yield self._written(waiting.popleft())
        for item in waiting:
            yield self._written(item)

    def _written(self, item: Item | Marker) -> bytes | Marker:
        if isinstance(item, Future):
            segment = item.result()
            self._adler32 = combined_adler32(self._adler32, segment.adler32, segment.raw_bytes)
            return self.chunk(segment.stored)
        if isinstance(item, BodyEnd):
            last = self._codec.ending(self._adler32)
            self._adler32 = EMPTY_ADLER
            return (self.chunk(last) if last else b"") + integer(0, self._int_size)
        return item


def _is_ready(item: object) -> bool:
    return not isinstance(item, Future) or item.done()
