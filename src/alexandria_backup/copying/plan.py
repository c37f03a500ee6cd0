"""Which rows are kept as frames, and how a table's pages are cut into them.

A frame is small enough to be held in memory and large enough to compress well. Its page range is
fixed: frame k of a table holds the same pages in each snapshot, so that it can be taken over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alexandria_backup.postgres.framing import Framable
from alexandria_backup.postgres.page_ranges import PageRange
from alexandria_backup.repository.manifest_parts import FramedPart


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How tables are cut into frames; the grid of each table is kept in the manifest."""

    #: Tables that take no more than this stay in the base archive, which pg_dump writes.
    above_bytes: int = 1024 * 1024
    #: Pages of a frame at most, as far as rows do not live in TOAST: 4 MiB of the usual size. Twice
    #: as many copy no faster, and store twice as much for each place that has changed.
    most_pages: int = 512
    #: Pages of a frame while the table is not too large for it: changes that are scattered over a
    #: table, as the server puts new versions of rows wherever there is room, touch little then.
    fewest_pages: int = 64
    #: Frames from which on a larger table gets larger frames, and not more of them: each is an
    #: object, to be stored and listed.
    many: int = 2048
    #: What the pages of a frame, with their share of the TOAST table, should not exceed.
    frame_bytes: int = 16 * 1024 * 1024


#: How tables are cut unless somebody knows better.
USUAL = Framing()


@dataclass(frozen=True, kw_only=True)
class PlannedTable:
    """A table that is kept as frames."""

    table: Framable
    #: Pages of one frame; None where all of it is one frame.
    frame_pages: int | None
    ranges: tuple[PageRange, ...]

    @property
    def stored_bytes(self) -> int:
        """What its rows take on the server: the estimate for progress."""
        return self.table.heap_bytes + self.table.toast_bytes

    @property
    def frame_bytes(self) -> int:
        """The share of one frame in `stored_bytes`."""
        return self.stored_bytes // max(1, len(self.ranges))


def plan_tables(
    tables: Iterable[Framable],
    *,
    block_size: int,
    before: Mapping[int, FramedPart],
    framing: Framing,
) -> tuple[PlannedTable, ...]:
    """Choose the tables that become frames, and their page ranges.

    `before` is how the reference snapshot framed them, by OID: its grid is kept as long as it does
    not make frames too large, since frames of another grid cannot be taken over.
    """
    return tuple(
        _planned(table, block_size, before.get(table.oid), framing)
        for table in tables
        if table.heap_bytes + table.toast_bytes > framing.above_bytes
    )


def _planned(
    table: Framable, block_size: int, before: FramedPart | None, framing: Framing
) -> PlannedTable:
    if not table.by_pages:
        whole = PageRange(first=0, end=None)
        return PlannedTable(table=table, frame_pages=None, ranges=(whole,))
    pages = -(-table.heap_bytes // block_size)
    best = _frame_pages(table, pages, block_size, framing)
    kept = before.frame_pages if before else None
    good = kept is not None and best / 4 <= kept <= min(best * 8, framing.most_pages)
    size = kept if kept is not None and good else best
    # A table that is TOAST alone has no page yet; it still is one frame.
    starts = range(0, max(pages, 1), size)
    ranges = tuple(PageRange(first=start, end=start + size) for start in starts)
    return PlannedTable(table=table, frame_pages=size, ranges=ranges)


def _frame_pages(table: Framable, pages: int, block_size: int, framing: Framing) -> int:
    """Return how many pages, with their share of TOAST, make a frame of the intended size."""
    size = min(framing.fewest_pages, framing.most_pages)
    while size < framing.most_pages and pages > size * framing.many:
        size = min(size * 2, framing.most_pages)
    if pages == 0:
        return size
    # Compressed values come out two to four times as large.
    page_bytes = block_size + 3 * table.toast_bytes / pages
    return max(1, min(size, int(framing.frame_bytes / page_bytes)))
