"""Frame by frame: what is taken over, what is read, and what a manifest says of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alexandria_backup.copying.orders import CopiedFrame, CopyOrder, CountOrder, FrameOrder
from alexandria_backup.copying.plan import PlannedTable
from alexandria_backup.copying.takeover import Reference, objection_to_frame, objection_to_table
from alexandria_backup.postgres.page_ranges import PageRange, RangeCount
from alexandria_backup.repository.manifest_parts import (
    FramedPart,
    FramePart,
    StoredPart,
    TablePart,
)

#: What a manifest says of a frame that was taken over.
UNCHANGED = "unchanged"
#: Ranges that one worker counts at a time.
_RANGES_PER_ORDER = 64


@dataclass(frozen=True, kw_only=True)
class FrameToRead:
    """A page range whose rows must be read, and why."""

    pages: PageRange
    reason: str
    #: Its rows may be what they were, and what is stored of them is not.
    anew: bool = False


@dataclass(frozen=True, kw_only=True)
class TableFrames:
    """A table of the plan, what its rows depend on, and where they may be taken over from."""

    plan: PlannedTable
    #: Keyed digests of the table's traits; None where nothing of it may ever be taken over.
    fingerprint: dict[str, str] | None
    reference: Reference | None
    #: Why no frame may be taken over; None where the page ranges are to be counted.
    objection: str | None

    @classmethod
    def of(
        cls,
        plan: PlannedTable,
        fingerprint: dict[str, str] | None,
        reference: Reference | None,
        objection: str | None,
    ) -> "TableFrames":
        """Compare a table with the reference, which may have been ruled out as a whole."""
        before = reference.tables.get(plan.table.oid) if reference else None
        objection = objection or objection_to_table(
            before, frame_pages=plan.frame_pages, fingerprint=fingerprint
        )
        return cls(plan=plan, fingerprint=fingerprint, reference=reference, objection=objection)

    @property
    def before(self) -> dict[int, FramePart]:
        """The reference's frames by their first page; empty where none may be taken over."""
        if self.reference is None or self.objection is not None:
            return {}
        framed = self.reference.tables[self.plan.table.oid]
        return {frame.first_page: frame for frame in framed.frames}

    def count_orders(self) -> list[CountOrder]:
        """Return what is to be counted before anything can be taken over."""
        if self.reference is None:
            return []
        before = self.before
        ranges = [pages for pages in self.plan.ranges if pages.first in before]
        return [
            CountOrder(
                schema=self.plan.table.schema,
                name=self.plan.table.name,
                ranges=tuple(ranges[start : start + _RANGES_PER_ORDER]),
                since_xmin=self.reference.origin.xmin,
            )
            for start in range(0, len(ranges), _RANGES_PER_ORDER)
        ]

    def decide(
        self,
        counts: dict[PageRange, RangeCount],
        objection_to_part: Callable[[StoredPart], str | None],
    ) -> list[FramePart | FrameToRead]:
        """Return, for each page range, the frame that is taken over, or why it is read."""
        before = self.before
        return [
            self._decide(pages, before.get(pages.first), counts.get(pages), objection_to_part)
            for pages in self.plan.ranges
        ]

    def _decide(
        self,
        pages: PageRange,
        before: FramePart | None,
        count: RangeCount | None,
        objection_to_part: Callable[[StoredPart], str | None],
    ) -> FramePart | FrameToRead:
        if self.objection is not None or self.reference is None:
            return FrameToRead(pages=pages, reason=self.objection or "nothing to compare with")
        if before is None or count is None:
            return FrameToRead(pages=pages, reason="new pages")
        objection = objection_to_frame(before, count)
        if objection is not None:
            return FrameToRead(pages=pages, reason=objection)
        damage = next(filter(None, map(objection_to_part, before.parts)), None)
        if damage is not None:
            return FrameToRead(pages=pages, reason=damage, anew=True)
        return FramePart(
            first_page=pages.first,
            end_page=pages.end,
            rows=before.rows,
            parts=before.parts,
            taken_from=before.taken_from or self.reference.snapshot,
            reason=UNCHANGED,
        )

    def copy_order(self, frames: Sequence[FrameToRead]) -> CopyOrder:
        """Return the order to read some page ranges."""
        table = self.plan.table
        return CopyOrder(
            schema=table.schema,
            name=table.name,
            columns=table.columns,
            frames=tuple(FrameOrder(pages=frame.pages, anew=frame.anew) for frame in frames),
        )

    def part(self, frames: Sequence[FramePart]) -> TablePart:
        """Return what the manifest says of this table."""
        table = self.plan.table
        return TablePart(
            schema_name=table.schema,
            name=table.name,
            columns=table.columns,
            rows=sum(frame.rows for frame in frames),
            digest=None,
            framed=FramedPart(
                oid=table.oid,
                copy_statement=table.copy_statement,
                frame_pages=self.plan.frame_pages,
                fingerprint=self.fingerprint,
                frames=tuple(frames),
            ),
        )


def read_frame(read: FrameToRead, copied: CopiedFrame) -> FramePart:
    """Return what the manifest says of a frame that was read."""
    return FramePart(
        first_page=read.pages.first,
        end_page=read.pages.end,
        rows=copied.rows,
        parts=copied.parts,
        taken_from=None,
        reason=read.reason,
    )
