"""The shape of a chain: runs joined by their links, whatever order they came in.

Each row follows the row whose HMAC it names. Runs are joined at their ends; a run that follows a
row from the middle of another divides it there. What comes out is a tree, and a good chain is a
tree with one root, one tip and no fork.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain as joined
from itertools import pairwise
from types import MappingProxyType

from alexandria_backup.audit.finding import Code, Finding, Findings, shown
from alexandria_backup.audit.runs import Record, Run
from alexandria_backup.audit.segments import Segment, ends_before, measured, path_of


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How the rows of one chain hang together."""

    #: One root, one tip, no fork, and no row outside.
    whole: bool
    #: From the root along the way of the rows that verify, and of those the longest.
    path: Sequence[Segment]
    #: Place of the first row of a run that was asked for, by the run's number; the chain's first
    #: row has 1.
    positions: Mapping[int, int]
    findings: Findings
    #: The row before such a run's first one and the row after its last one, by the run's number.
    before: Mapping[int, str]
    after: Mapping[int, str]


def join(
    runs: Sequence[Run],
    *,
    chain: str,
    keyed: bool,
    limit: int,
    retired: Mapping[bytes, int] = MappingProxyType({}),
    asked: Collection[int] = (),
) -> Shape:
    """Join runs by their links; `keyed` says that `valid` was found out with a proved key.

    All findings are counted and the first `limit` listed: no more are made. `retired` are HMACs of
    rows that are gone for good, by a record of it, and their positions: a chain may begin behind
    such a row. `asked` are the numbers of runs whose places and neighbours somebody wants to know;
    the place of the first one on the path is always told.
    """
    joining = _Joining(runs, chain=chain, keyed=keyed, limit=limit, retired=retired)
    return joining.shape(asked)


class _Joining:
    def __init__(
        self,
        runs: Sequence[Run],
        *,
        chain: str,
        keyed: bool,
        limit: int,
        retired: Mapping[bytes, int],
    ) -> None:
        self._runs = runs
        self._chain = chain
        self._keyed = keyed
        self._retired = retired
        self._findings = Findings(limit)
        self._tips: dict[bytes, Run] = {}
        for run in runs:
            self._tips.setdefault(run.tip, run)
        #: The row in the middle of a run that is followed from outside, and its own follower.
        self._inside: dict[bytes, tuple[Run, int, Record, Record]] = {}
        self._look_inside()
        self._heads = [Segment(run=run, start=0, end=run.rows - 1) for run in runs]
        #: All segments of the runs that are divided, in order, by the run's number.
        self._parts: dict[int, list[Segment]] = {}
        self._divide()

    def shape(self, asked: Collection[int]) -> Shape:
        roots = [self._heads[run.number] for run in self._runs if run.begins]
        loose = (self._heads[run.number] for run in self._runs if not run.begins)
        unattached = [segment for segment in loose if not self._attach(segment)]
        gone = [s for s in unattached if s.run.previous in self._retired]
        orphans = [s for s in unattached if s.run.previous not in self._retired]
        for segment in gone:
            segment.position = self._retired[segment.run.previous or b""] + 1
        roots += gone
        order = measured(roots, orphans)
        self._fork(None, roots)
        for segment in order:
            self._fork(segment, segment.children)
        self._tell_orphans(roots, orphans, order)
        self._tell_loops(order)
        path = list(path_of(roots))
        wanted = {*asked, *(segment.run.number for segment in path[:1])}
        begun = {number: self._heads[number] for number in wanted}
        return Shape(
            whole=bool(roots) and not self._findings.counts,
            path=path,
            positions={
                number: segment.position
                for number, segment in begun.items()
                if segment.position is not None
            },
            findings=self._findings,
            before={
                number: above.last_id
                for number, segment in begun.items()
                for above in [self._above(segment)]
                if above is not None
            },
            after={
                number: max(last.children, key=lambda child: child.rank).first_id
                for number in wanted
                for last in [self._parts.get(number, [self._heads[number]])[-1]]
                if last.children
            },
        )

    def _look_inside(self) -> None:
        """Find rows in the middle of runs that something follows; reads the log if it must."""
        wanted = {
            run.previous
            for run in self._runs
            if run.previous is not None and run.previous not in self._tips
        }
        if not wanted:
            return
        for run in self._runs:
            if run.rows == 1:
                continue
            for index, (record, follower) in enumerate(pairwise(run.records())):
                if record.sealed in wanted:
                    self._inside.setdefault(record.sealed, (run, index, record, follower))

    def _divide(self) -> None:
        """Divide the runs where they are followed from outside."""
        cuts: dict[int, list[tuple[int, Record, Record]]] = {}
        for run, index, record, follower in self._inside.values():
            cuts.setdefault(run.number, []).append((index, record, follower))
        for number, places in cuts.items():
            segment = self._heads[number]
            parts = self._parts[number] = [segment]
            for index, record, follower in sorted(places, key=lambda cut: cut[0]):
                below = Segment(run=segment.run, start=index + 1, end=segment.end, first=follower)
                segment.end, segment.last = index, record
                segment.add(below)
                parts.append(below)
                segment = below

    def _attach(self, segment: Segment) -> bool:
        """Hang a run below the row that it follows; tell whether there is one."""
        above = self._above(segment)
        if above is not None:
            above.add(segment)
        return above is not None

    def _above(self, segment: Segment) -> Segment | None:
        """Return the segment whose last row the first one of a run follows."""
        previous = segment.run.previous
        if previous is None:
            return None
        run = self._tips.get(previous)
        if run is not None:
            return self._parts.get(run.number, [self._heads[run.number]])[-1]
        if previous not in self._inside:
            return None
        run, index = self._inside[previous][:2]
        parts = self._parts[run.number]
        return parts[bisect_left(parts, index, key=lambda part: part.end)]

    def _fork(self, above: Segment | None, followers: Sequence[Segment]) -> None:
        if len(followers) < 2:
            return
        main = max(followers, key=lambda follower: follower.rank)
        for other in followers:
            if other is main:
                continue
            code = self._fork_code(main, other)
            if not self._findings.count(code):
                continue
            place = f"`{above.last_id}`" if above else "the beginning"
            detail = f"it follows {place} as `{main.first_id}` does"
            if code is Code.BRANCH and not self._keyed:
                detail += "; without the key nobody can tell which of them is genuine"
            self._list(code, other, before=above.last_id if above else None, detail=detail)

    def _fork_code(self, main: Segment, other: Segment) -> Code:
        if other.first_hmac == main.first_hmac:
            return Code.DUPLICATE_LINK
        if self._keyed and main.first_valid and other.first_valid:
            return Code.BRANCH_VALID_HMAC
        return Code.BRANCH

    def _tell_orphans(
        self, roots: list[Segment], orphans: list[Segment], order: list[Segment]
    ) -> None:
        head = None if roots else min(orphans, key=lambda one: one.run.head_at, default=None)
        listed: list[Segment] = []
        for orphan in orphans:
            code = Code.HEAD_MISSING if orphan is head else Code.LINK_BROKEN
            if self._findings.count(code, waiting=len(listed)):
                listed.append(orphan)
        before = ends_before([orphan for orphan in listed if orphan is not head], order)
        for orphan in listed:
            gone = shown(orphan.run.previous)
            if orphan is head:
                detail = f"the chain does not begin here: the row with HMAC {gone} is missing"
                self._list(Code.HEAD_MISSING, orphan, before=None, detail=detail)
                continue
            detail = (
                "its `prev_hmac` is no HMAC"
                if orphan.run.previous is None
                else f"it follows a row with HMAC {gone}, which is missing"
            )
            ident = before[orphan.run.number]
            self._list(Code.LINK_BROKEN, orphan, before=ident, detail=detail)

    def _tell_loops(self, order: list[Segment]) -> None:
        more = sum(len(parts) - 1 for parts in self._parts.values())
        if len(order) == len(self._heads) + more:
            return
        reached = {id(segment) for segment in order}
        everything = joined(self._heads, *(parts[1:] for parts in self._parts.values()))
        lost = [segment for segment in everything if id(segment) not in reached]
        first = min(lost, key=lambda segment: segment.first_id)
        rows = sum(segment.rows for segment in lost)
        if self._findings.count(Code.LINK_BROKEN):
            detail = f"{rows:,} rows follow each other in a loop that no first row leads to"
            self._list(Code.LINK_BROKEN, first, before=None, detail=detail)

    def _list(self, code: Code, segment: Segment, *, before: str | None, detail: str) -> None:
        finding = Finding(
            code=code,
            chain=self._chain,
            position=segment.position,
            id=segment.first_id,
            before=before,
            after=None,
            detail=detail,
        )
        self._findings.listed.append(finding)
