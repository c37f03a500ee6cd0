"""Segments: consecutive rows of a run between two places where something is joined.

They hang below each other as the links say, which makes a tree; what is long, and which way is the
chain's own, is found out by going through it once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from alexandria_backup.audit.runs import Run


class Stretch(NamedTuple):
    """Consecutive rows of a run, by their indexes in it, the last one included."""

    run: Run
    start: int
    end: int


@dataclass(slots=True, kw_only=True, eq=False)
class Segment:
    """Consecutive rows of a run between two places where something is joined."""

    run: Run
    #: Indexes in the run, the last one included.
    start: int
    end: int
    first_id: str
    first_hmac: bytes
    first_valid: bool
    last_id: str
    children: list["Segment"] = field(default_factory=list)
    #: Rows on the longest way from its first row on.
    longest: int = 0
    position: int | None = None

    @property
    def rank(self) -> tuple[bool, int, bytes]:
        """Which of several followers is taken for the chain's own: not by order of arrival."""
        return self.first_valid, self.longest, self.first_hmac


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
                child.position = segment.position + segment.end - segment.start + 1
        stack.extend(segment.children)
    for segment in reversed(order):
        below = max((child.longest for child in segment.children), default=0)
        segment.longest = below + segment.end - segment.start + 1
    return order


def path_of(roots: list[Segment]) -> Iterator[Stretch]:
    """Yield the chain's own way from its root on: at each fork the follower of the highest rank."""
    followers = roots
    while followers:
        segment = max(followers, key=lambda follower: follower.rank)
        yield Stretch(segment.run, segment.start, segment.end)
        followers = segment.children
