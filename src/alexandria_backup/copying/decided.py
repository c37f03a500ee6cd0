"""All frames of a database: deciding which are taken over, and reading the others, in any order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from alexandria_backup.copying.frames import FrameToRead, TableFrames, read_frame
from alexandria_backup.copying.orders import CopiedFrames
from alexandria_backup.copying.worker import copy_task, count_task
from alexandria_backup.events import Emit, Progress
from alexandria_backup.postgres.framing import Framable
from alexandria_backup.postgres.page_ranges import PageRange, RangeCount
from alexandria_backup.repository.manifest_parts import FramePart, StoredPart, TablePart

#: What one order reads at most, by what it takes on the server: while a frame is stored, the next
#: one of the same order is read.
_ORDER_BYTES: Final = 32 * 1024 * 1024
#: Into how many orders for each reader the rest is cut, so that all end at about the same time.
_ORDERS_EACH: Final = 3
#: How many orders for each reader wait or are carried out.
_ORDERS_AHEAD: Final = 3

#: Frames that one order reads, with their numbers in their table.
_Stretch: TypeAlias = list[tuple[int, FrameToRead]]


@dataclass(frozen=True, kw_only=True)
class ReadFrames:
    """What came of reading."""

    tables: tuple[TablePart, ...]
    #: COPY text that was read, and bytes that had to be stored for it.
    read_bytes: int
    new_bytes: int


@dataclass(frozen=True, kw_only=True)
class DecidedFrames:
    """The frames of all tables, each taken over or to be read."""

    tables: Sequence[TableFrames]
    #: Those of each table, in the order of its pages.
    frames: Sequence[Sequence[FramePart | FrameToRead]]

    @property
    def bytes_to_read(self) -> int:
        """An estimate, from what the rows take on the server."""
        return sum(
            table.plan.frame_bytes
            for table, frames in zip(self.tables, self.frames, strict=True)
            for frame in frames
            if isinstance(frame, FrameToRead)
        )

    @property
    def tables_to_read(self) -> list[Framable]:
        """Those of which anything is read."""
        return [
            table.plan.table
            for table, frames in zip(self.tables, self.frames, strict=True)
            if any(isinstance(frame, FrameToRead) for frame in frames)
        ]

    def read(
        self,
        readers: Executor,
        number: int,
        *,
        stored: Callable[[TableFrames, FramePart], None],
        emit: Emit,
    ) -> ReadFrames:
        """Read what is to be read with a `number` of readers.

        `stored` is told of each frame, and may end it by raising. Raises what `copy_task` raises.
        """
        rest = self._stretches(number)
        orders: dict[Future[CopiedFrames], tuple[int, _Stretch]] = {}

        def submit(most: int) -> None:
            for t, stretch in islice(rest, most):
                order = self.tables[t].copy_order([frame for _, frame in stretch])
                orders[readers.submit(copy_task, order)] = (t, stretch)

        # Not all at once: who else lets the readers read must not wait for the last frame.
        submit(number * _ORDERS_AHEAD)
        done: list[list[FramePart | None]] = [
            [frame if isinstance(frame, FramePart) else None for frame in frames]
            for frames in self.frames
        ]
        total = self.bytes_to_read
        read_bytes = new_bytes = estimate = 0
        while orders:
            future = next(as_completed(orders))
            t, stretch = orders.pop(future)
            copied = future.result()
            submit(1)
            for (f, to_read), frame in zip(stretch, copied.frames, strict=True):
                part = done[t][f] = read_frame(to_read, frame)
                stored(self.tables[t], part)
                read_bytes += frame.raw_bytes
            new_bytes += copied.new_bytes
            estimate += self.tables[t].plan.frame_bytes * len(stretch)
            emit(Progress(work="copy out", done=min(estimate, total), total=total, unit="bytes"))
        tables = tuple(
            table.part([frame for frame in frames if frame is not None])
            for table, frames in zip(self.tables, done, strict=True)
        )
        return ReadFrames(tables=tables, read_bytes=read_bytes, new_bytes=new_bytes)

    def _stretches(self, readers: int) -> Iterator[tuple[int, _Stretch]]:
        """Give what one order reads each: the number of a table, and frames with their numbers.

        They become smaller towards the end.
        """
        rest = self.bytes_to_read
        for t, (table, frames) in enumerate(zip(self.tables, self.frames, strict=True)):
            stretch: _Stretch = []
            size = max(table.plan.frame_bytes, 1)
            for f, frame in enumerate(frames):
                if not isinstance(frame, FrameToRead):
                    continue
                stretch.append((f, frame))
                if (len(stretch) + 1) * size > min(_ORDER_BYTES, rest // (_ORDERS_EACH * readers)):
                    rest -= len(stretch) * size
                    yield t, stretch
                    stretch = []
            if stretch:
                rest -= len(stretch) * size
                yield t, stretch


def decide_frames(
    tables: Sequence[TableFrames],
    counters: Executor,
    objection_to_part: Callable[[StoredPart], str | None],
    emit: Emit,
) -> DecidedFrames:
    """Count what may be taken over, and decide on each frame; raises what `count_task` raises."""
    orders = [order for table in tables for order in table.count_orders()]
    waiting = [(order, counters.submit(count_task, order)) for order in orders]
    counts: dict[tuple[str, str], dict[PageRange, RangeCount]] = {}
    for number, (order, future) in enumerate(waiting, start=1):
        found = dict(zip(order.ranges, future.result(), strict=True))
        counts.setdefault((order.schema, order.name), {}).update(found)
        emit(Progress(work="compare frames", done=number, total=len(orders), unit="orders"))
    frames = [
        table.decide(
            counts.get((table.plan.table.schema, table.plan.table.name), {}), objection_to_part
        )
        for table in tables
    ]
    return DecidedFrames(tables=tables, frames=frames)
