"""Anchors made from a chain, and a chain compared with the anchors of earlier days."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from alexandria_backup.audit.anchor import BLOCK_ROWS, Anchor, Rolling
from alexandria_backup.audit.finding import Code, Finding, shown
from alexandria_backup.audit.incarnation import Histories
from alexandria_backup.audit.links import Shape
from alexandria_backup.audit.recipe import HMAC_BYTES, Recipe
from alexandria_backup.audit.runs import Block, Record
from alexandria_backup.audit.segments import Stretch


class Mark(NamedTuple):
    """What stands at a position of a chain, and the digests over everything up to there."""

    id: str
    sealed: bytes
    rolling: str
    flat: str


@dataclass(frozen=True, kw_only=True)
class Walked:
    """A chain read once more in its own order."""

    #: None where the links are not whole: nobody should vouch for such a state.
    anchor: Anchor | None
    #: By position; only those that were asked for and that the chain reaches.
    marks: Mapping[int, Mark]
    #: How far the links lead without a break.
    reached: int


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """Where the rows at hand begin in a chain whose first rows are not read again."""

    #: The HMAC that the first row at hand follows, and its position.
    previous: bytes
    position: int
    #: The anchor that the digest goes on from.
    anchor: Anchor

    @property
    def full_blocks(self) -> int:
        """The position of the last row that `settled` of the anchor covers."""
        return self.anchor.count // BLOCK_ROWS * BLOCK_ROWS


def walk(
    shape: Shape,
    recipe: Recipe,
    *,
    chain: str,
    positions: Iterable[int],
    incarnation: str | None,
    resumed: Resumed | None = None,
) -> Walked:
    """Read the rows of a chain in its own order; raises StorageError."""
    if not shape.path:
        return Walked(anchor=None, marks={}, reached=0)
    if resumed is not None:
        return _walk_on(shape, recipe, incarnation, resumed)
    first = shape.path[0]
    rolling, flat, marks = Rolling(), sha256(), dict[int, Mark]()
    last_id, last = "", b""
    offset = count = shape.positions[first.run.number] - 1
    wanted = [position for position in sorted(set(positions)) if position > offset]
    for stretch in shape.path:
        for block in _blocks(stretch):
            place = 0
            while wanted and wanted[0] <= count + block.rows:
                index = wanted[0] - count - 1
                part = block.digests[place : (index + 1) * HMAC_BYTES]
                place += len(part)
                rolling.update(part)
                flat.update(part)
                sealed = block.sealed[index * HMAC_BYTES : (index + 1) * HMAC_BYTES]
                marks[wanted.pop(0)] = Mark(
                    block.id_at(index), sealed, rolling.hexdigest(), flat.hexdigest()
                )
            rolling.update(block.digests[place:])
            flat.update(block.digests[place:])
            count += block.rows
            last_id, last = block.id_at(block.rows - 1), block.sealed[-HMAC_BYTES:]
    # Where rows are gone for good, a digest over all rows cannot be computed any more.
    anchor = Anchor(
        chain=chain,
        count=count,
        first_id=first.run.head_id,
        first_hmac=recipe.write(first.run.head),
        last_id=last_id,
        last_hmac=recipe.write(last),
        rolling=rolling.hexdigest(),
        settled=rolling.settled,
        incarnation=incarnation,
    )
    return Walked(anchor=anchor if shape.whole and not offset else None, marks=marks, reached=count)


def _walk_on(shape: Shape, recipe: Recipe, incarnation: str | None, resumed: Resumed) -> Walked:
    """Read the rows at hand and go on with the digest of the anchor before them."""
    old = resumed.anchor
    rolling = Rolling(old.settled, resumed.full_blocks)
    marks = dict[int, Mark]()
    count, last_id, last = resumed.position, "", b""
    for stretch in shape.path:
        for record in _records(stretch):
            count += 1
            if count > resumed.full_blocks:
                rolling.update(record.digest)
            if count == old.count:
                marks[count] = Mark(record.id, record.sealed, rolling.hexdigest(), "")
            last_id, last = record.id, record.sealed
    made = replace(
        old,
        count=count,
        last_id=last_id,
        last_hmac=recipe.write(last),
        rolling=rolling.hexdigest(),
        settled=rolling.settled,
        incarnation=incarnation,
    )
    return Walked(anchor=made if shape.whole else None, marks=marks, reached=count)


def _records(stretch: Stretch) -> Iterator[Record]:
    return islice(stretch.run.records(), stretch.start, stretch.end + 1)


def _blocks(stretch: Stretch) -> Iterator[Block]:
    """Yield the remembered rows of a stretch, cut where it begins and ends."""
    passed = 0
    for block in stretch.run.remembered():
        start, end = max(stretch.start - passed, 0), stretch.end + 1 - passed
        passed += block.rows
        if start < block.rows and end > 0:
            yield block if start == 0 and end >= block.rows else block.cut(start, end)


@dataclass(kw_only=True)
class Compared:
    """What came out of comparing one chain with all its anchors."""

    findings: list[Finding] = field(default_factory=list)
    #: Why an anchor could not be compared.
    skipped: list[str] = field(default_factory=list)
    #: What a person should know: rows that a restore gave up.
    notes: list[str] = field(default_factory=list)
    #: How many anchors fit.
    fitting: int = 0


def compare(
    anchors: Sequence[Anchor],
    walked: Walked | None,
    recipe: Recipe,
    *,
    broken: bool = False,
    edited: bool = False,
    lagging: bool = False,
    first: int = 1,
    histories: Histories | None = None,
) -> Compared:
    """Compare a chain with its anchors; `walked` is None where the chain is not there at all.

    `broken` says that its links do not lead to its end, and `edited` that rows of it are known not
    to be what was signed, so that another content is no news; `first` is the position of its first
    row, where the ones before were retired. An anchor that fits an earlier history of the database,
    one that a declared restore has ended, tells of rows given up and is no finding. On a standby,
    which may be `lagging`, rows that are not there yet are no finding either, and no proof.
    """
    compared = Compared()
    histories = histories or Histories(())
    agreed: Anchor | None = None
    for anchor in sorted(anchors, key=lambda one: one.count):
        kept = histories.kept(anchor.incarnation, anchor.chain)
        if kept is not None and anchor.count > kept[1]:
            compared.notes.append(
                f"an anchor of {anchor.count:,} rows is of an earlier history: "
                f"{kept[0].describe()} went back to {kept[1]:,} rows"
            )
            continue
        if anchor.count < first:
            compared.skipped.append(f"anchor of {anchor.count:,} rows: these rows were retired")
            continue
        mark = None if walked is None else walked.marks.get(anchor.count)
        if mark is None and broken:
            compared.skipped.append("anchor: the links break before the row that it names")
            continue
        if mark is None and lagging:
            compared.skipped.append(
                f"anchor of {anchor.count:,} rows: this is a standby, and may not have them yet"
            )
            continue
        finding = _difference(anchor, walked, mark, recipe, retired=first > 1)
        if finding is None:
            compared.fitting += 1
            agreed = anchor
        elif edited and mark is not None and recipe.write(mark.sealed) == anchor.last_hmac:
            compared.skipped.append(
                f"anchor of {anchor.count:,} rows: its HMAC is there; what the rows held cannot be "
                "compared, since some do not verify"
            )
        else:
            known = histories.knows(anchor.incarnation)
            compared.findings.append(_told(finding, anchor, mark, agreed, known=known))
    return compared


def _difference(
    anchor: Anchor, walked: Walked | None, mark: Mark | None, recipe: Recipe, *, retired: bool
) -> Finding | None:
    """Return what is wrong with a chain by its anchor; None where it goes on from there."""
    made = None if walked is None else walked.anchor
    rows = 0 if walked is None else walked.reached
    if mark is None:
        detail = f"the chain has {rows:,} rows, and had {anchor.count:,} when it was anchored"
        return _finding(Code.BEHIND_ANCHOR, anchor, made, detail)
    if recipe.write(mark.sealed) != anchor.last_hmac:
        detail = f"in its place stands row `{mark.id}` with HMAC {shown(mark.sealed)}"
        return _finding(Code.ANCHOR_MISMATCH, anchor, made, detail)
    rolling = mark.flat if anchor.settled is None else mark.rolling
    if rolling != anchor.rolling and not retired:
        detail = "a row up to here is not what it was when the chain was anchored"
        return _finding(Code.ANCHOR_MISMATCH, anchor, made, detail)
    return None


def _told(
    finding: Finding, anchor: Anchor, mark: Mark | None, agreed: Anchor | None, *, known: bool
) -> Finding:
    """Call a difference a fork where another row, and not the same one rewritten, is there."""
    if mark is None or mark.id == anchor.last_id or (agreed is None and known):
        return finding
    where = f"after row {agreed.count:,}" if agreed else "nobody knows where"
    return Finding(
        code=Code.FORK,
        chain=finding.chain,
        position=finding.position,
        id=finding.id,
        before=agreed.last_id if agreed else None,
        after=None,
        detail=f"the chain goes another way {where}, and no restore has declared that: "
        f"{finding.detail}",
    )


def _finding(code: Code, anchor: Anchor, made: Anchor | None, detail: str) -> Finding:
    return Finding(
        code=code,
        chain=anchor.chain,
        position=anchor.count,
        id=anchor.last_id,
        before=None if made is None else made.last_id,
        after=None,
        detail=detail,
    )


def of_chain(anchors: Iterable[Anchor], chain: str) -> Iterator[Anchor]:
    """Yield the anchors of one chain."""
    return (anchor for anchor in anchors if anchor.chain == chain)
