"""The shape of a chain: runs joined by their links, whatever order they came in.

Each row follows the row whose HMAC it names. Runs are joined at their ends; a run that follows a
row from the middle of another divides it there. What comes out is a tree, and a good chain is a
tree with one root, one tip and no fork.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from alexandria_backup.audit.finding import Code, Finding, shown
from alexandria_backup.audit.runs import Record, Run
from alexandria_backup.audit.segments import Segment, Stretch, measured, path_of


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How the rows of one chain hang together."""

    #: One root, one tip, no fork, and no row outside.
    whole: bool
    #: From the root along the way of the rows that verify, and of those the longest.
    path: tuple[Stretch, ...]
    #: Place of the first row of a run, by the run's number; the chain's first row has 1.
    positions: dict[int, int]
    findings: tuple[Finding, ...]
    #: The row before a run's first one and the row after its last one, by the run's number.
    before: Mapping[int, str]
    after: Mapping[int, str]


def join(
    runs: Sequence[Run],
    *,
    chain: str,
    keyed: bool,
    retired: Mapping[bytes, int] = MappingProxyType({}),
) -> Shape:
    """Join runs by their links; `keyed` says that `valid` was found out with a proved key.

    `retired` are HMACs of rows that are gone for good, by a record of it, and their positions: a
    chain may begin behind such a row.
    """
    return _Joining(runs, chain=chain, keyed=keyed, retired=retired).shape()


class _Joining:
    def __init__(
        self, runs: Sequence[Run], *, chain: str, keyed: bool, retired: Mapping[bytes, int]
    ) -> None:
        self._runs = runs
        self._chain = chain
        self._keyed = keyed
        self._retired = retired
        self._tips: dict[bytes, Run] = {}
        for run in runs:
            self._tips.setdefault(run.tip, run)
        #: The row in the middle of a run that is followed from outside, and its own follower.
        self._inside: dict[bytes, tuple[Run, int, Record, Record]] = {}
        self._look_inside()
        self._ends: dict[tuple[int, int], Segment] = {}
        self._heads = {segment.run.number: segment for segment in self._segments()}

    def shape(self) -> Shape:
        roots = [self._heads[run.number] for run in self._runs if run.begins]
        unattached = [
            segment
            for run in self._runs
            if not run.begins
            for segment in [self._heads[run.number]]
            if not self._attach(segment)
        ]
        gone = [s for s in unattached if s.run.previous in self._retired]
        orphans = [s for s in unattached if s.run.previous not in self._retired]
        for segment in gone:
            segment.position = self._retired[segment.run.previous or b""] + 1
        roots += gone
        order = measured(roots, orphans)
        findings = [
            *self._forks(None, roots),
            *(found for segment in order for found in self._forks(segment, segment.children)),
            *self._orphans(roots, orphans, order),
            *self._loops(order),
        ]
        positions = {
            segment.run.number: segment.position
            for segment in order
            if segment.start == 0 and segment.position is not None
        }
        return Shape(
            whole=bool(roots) and not findings,
            path=tuple(path_of(roots)),
            positions=positions,
            findings=tuple(findings),
            before={
                child.run.number: segment.last_id
                for segment in order
                for child in segment.children
                if child.start == 0
            },
            after={
                segment.run.number: max(segment.children, key=lambda child: child.rank).first_id
                for segment in order
                if segment.children and segment.end == segment.run.rows - 1
            },
        )

    def _look_inside(self) -> None:
        """Find rows in the middle of runs that something follows; reads the log if it must."""
        wanted = {run.previous for run in self._runs if run.previous is not None}
        wanted -= self._tips.keys()
        if not wanted:
            return
        for run in self._runs:
            before: Record | None = None
            for index, record in enumerate(run.records()):
                if before is not None and before.sealed in wanted:
                    found = (run, index - 1, before, record)
                    self._inside.setdefault(before.sealed, found)
                before = record

    def _segments(self) -> Iterator[Segment]:
        """Divide the runs where they are followed from outside; yield the first part of each."""
        cuts: dict[int, list[tuple[int, Record, Record]]] = {}
        for run, index, record, successor in self._inside.values():
            cuts.setdefault(run.number, []).append((index, record, successor))
        for run in self._runs:
            start, ident, sealed, valid = 0, run.head_id, run.head, run.head_valid
            above: Segment | None = None
            first: Segment | None = None
            parts = sorted(cuts.get(run.number, ()), key=lambda cut: cut[0])
            ends: list[tuple[int, str, Record | None]] = [
                *((index, record.id, follower) for index, record, follower in parts),
                (run.rows - 1, run.tip_id, None),
            ]
            for end, last_id, follower in ends:
                segment = Segment(
                    run=run,
                    start=start,
                    end=end,
                    first_id=ident,
                    first_hmac=sealed,
                    first_valid=valid,
                    last_id=last_id,
                )
                self._ends[run.number, end] = segment
                if above is not None:
                    above.children.append(segment)
                first, above = first or segment, segment
                if follower is not None:
                    start, ident = end + 1, follower.id
                    sealed, valid = follower.sealed, follower.valid
            if first is not None:
                yield first

    def _attach(self, segment: Segment) -> bool:
        """Hang a run below the row that it follows; tell whether there is one."""
        previous = segment.run.previous
        if previous is None:
            return False
        run, index = self._tips.get(previous), -1
        if run is not None:
            index = run.rows - 1
        elif previous in self._inside:
            run, index = self._inside[previous][:2]
        if run is None:
            return False
        self._ends[run.number, index].children.append(segment)
        return True

    def _forks(self, above: Segment | None, followers: list[Segment]) -> Iterator[Finding]:
        if len(followers) < 2:
            return
        main = max(followers, key=lambda follower: follower.rank)
        for other in followers:
            if other is main:
                continue
            code = self._fork_code(main, other)
            place = f"`{above.last_id}`" if above else "the beginning"
            detail = f"it follows {place} as `{main.first_id}` does"
            if code is Code.BRANCH and not self._keyed:
                detail += "; without the key nobody can tell which of them is genuine"
            yield self._finding(
                code, other, before=above.last_id if above else None, after=None, detail=detail
            )

    def _fork_code(self, main: Segment, other: Segment) -> Code:
        if other.first_hmac == main.first_hmac:
            return Code.DUPLICATE_LINK
        if self._keyed and main.first_valid and other.first_valid:
            return Code.BRANCH_VALID_HMAC
        return Code.BRANCH

    def _orphans(
        self, roots: list[Segment], orphans: list[Segment], order: list[Segment]
    ) -> Iterator[Finding]:
        if not orphans:
            return
        head = None if roots else min(orphans, key=lambda orphan: orphan.run.head_at)
        loose = sorted(
            (segment.run.tip_at, segment.last_id)
            for segment in order
            if not segment.children and segment.end == segment.run.rows - 1
        )
        for orphan in orphans:
            gone = shown(orphan.run.previous)
            if orphan is head:
                detail = f"the chain does not begin here: the row with HMAC {gone} is missing"
                yield self._finding(
                    Code.HEAD_MISSING, orphan, before=None, after=None, detail=detail
                )
                continue
            place = bisect_left(loose, (orphan.run.head_at, ""))
            detail = (
                "its `prev_hmac` is no HMAC"
                if orphan.run.previous is None
                else f"it follows a row with HMAC {gone}, which is missing"
            )
            before = loose[place - 1][1] if place else None
            yield self._finding(Code.LINK_BROKEN, orphan, before=before, after=None, detail=detail)

    def _loops(self, order: list[Segment]) -> Iterator[Finding]:
        if len(order) == len(self._ends):
            return
        reached = {id(segment) for segment in order}
        lost = [segment for segment in self._ends.values() if id(segment) not in reached]
        first = min(lost, key=lambda segment: segment.first_id)
        rows = sum(segment.end - segment.start + 1 for segment in lost)
        detail = f"{rows:,} rows follow each other in a loop that no first row leads to"
        yield self._finding(Code.LINK_BROKEN, first, before=None, after=None, detail=detail)

    def _finding(
        self, code: Code, segment: Segment, *, before: str | None, after: str | None, detail: str
    ) -> Finding:
        return Finding(
            code=code,
            chain=self._chain,
            position=segment.position,
            id=segment.first_id,
            before=before,
            after=after,
            detail=detail,
        )
