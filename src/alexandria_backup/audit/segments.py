"""Segments: consecutive rows of a run between two places where something is joined.

They hang below each other as the links say, which makes a tree; what is long, and which way is the
chain's own, is found out by going through it once.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from alexandria_backup.audit.runs import Record, Run


@dataclass(slots=True, kw_only=True, eq=False)
class Segment:
    """Consecutive rows of a run between two places where something is joined.

    There are as many as runs, or a few more: what the run knows is not held again.
    """

    run: Run
    #: Indexes in the run, the last one included.
    start: int
    end: int
    #: Its first and its last row, where they are in the middle of the run.
    first: Record | None = None
    last: Record | None = None
    children: "list[Segment] | tuple[()]" = ()
    #: Rows on the longest way from its first row on.
    longest: int = 0
    position: int | None = None

    @property
    def rows(self) -> int:
        """How many it has."""
        return self.end - self.start + 1

    @property
    def first_id(self) -> str:
        """The id of its first row."""
        return self.first.id if self.first else self.run.head_id

    @property
    def first_hmac(self) -> bytes:
        """The HMAC of its first row."""
        return self.first.sealed if self.first else self.run.head

    @property
    def first_valid(self) -> bool:
        """Whether its first row is what was signed."""
        return self.first.valid if self.first else self.run.head_valid

    @property
    def last_id(self) -> str:
        """The id of its last row."""
        return self.last.id if self.last else self.run.tip_id

    @property
    def rank(self) -> tuple[bool, int, bytes]:
        """Which of several followers is taken for the chain's own: not by order of arrival."""
        return self.first_valid, self.longest, self.first_hmac

    def add(self, child: "Segment") -> None:
        """Hang another one below it."""
        if isinstance(self.children, list):
            self.children.append(child)
        else:
            self.children = [child]


def measured(roots: list[Segment], orphans: list[Segment]) -> list[Segment]:
    """Return what can be reached, parents first, with positions and lengths filled in."""
    for root in roots:
        root.position = root.position or 1
    order: list[Segment] = []
    stack = [*orphans, *roots]
    while stack:
        segment = stack.pop()
        order.append(segment)
        if segment.position is not None:
            for child in segment.children:
                child.position = segment.position + segment.rows
        stack.extend(segment.children)
    for segment in reversed(order):
        below = max((child.longest for child in segment.children), default=0)
        segment.longest = below + segment.rows
    return order


def path_of(roots: list[Segment]) -> Iterator[Segment]:
    """Yield the chain's own way from its root on: at each fork the follower of the highest rank."""
    followers: list[Segment] | tuple[()] = roots
    while followers:
        segment = max(followers, key=lambda follower: follower.rank)
        yield segment
        followers = segment.children


def ends_before(orphans: list[Segment], order: list[Segment]) -> dict[int, str | None]:
    """Return the last row, by its time, of what ends before each orphan, by the run's number."""
    sought = sorted(orphans, key=lambda orphan: orphan.run.head_at)
    times = [orphan.run.head_at for orphan in sought]
    newest: list[tuple[tuple[int, str], str] | None] = [None] * (len(sought) + 1)
    for segment in order:
        if segment.children or segment.end != segment.run.rows - 1:
            continue
        end = segment.run.tip_at
        # It stands before the first one that begins later, and before all behind that.
        place = bisect_right(times, end)
        found = newest[place]
        if found is None or found[0] < end:
            newest[place] = (end, segment.last_id)
    before: dict[int, str | None] = {}
    last: tuple[tuple[int, str], str] | None = None
    for orphan, found in zip(sought, newest, strict=False):
        if found is not None and (last is None or last[0] < found[0]):
            last = found
        before[orphan.run.number] = None if last is None else last[1]
    return before
