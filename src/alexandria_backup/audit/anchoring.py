"""Anchors made from a chain that is read once more in its own order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from alexandria_backup.audit.anchor import BLOCK_ROWS, Anchor, Rolling
from alexandria_backup.audit.links import Shape
from alexandria_backup.audit.recipe import HMAC_BYTES, Recipe
from alexandria_backup.audit.runs import Block, Record
from alexandria_backup.audit.segments import Segment


class Mark(NamedTuple):
    """What stands at a position of a chain, and the digests over everything up to there."""

    id: str
    sealed: bytes
    rolling: str
    #: The digest of the first release; empty where no anchor of it was to be compared.
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
    anchors: Sequence[Anchor],
    incarnation: str | None,
    resumed: Resumed | None = None,
) -> Walked:
    """Read the rows of a chain in its own order, past its anchors; raises StorageError."""
    if not shape.path:
        return Walked(anchor=None, marks={}, reached=0)
    if resumed is not None:
        return _walk_on(shape, recipe, incarnation, resumed)
    first = shape.path[0]
    rolling, marks = Rolling(), dict[int, Mark]()
    # It takes as long as the other, and seldom is there anything to compare it with.
    flat = sha256() if any(anchor.settled is None for anchor in anchors) else None
    last_id, last = "", b""
    offset = count = shape.positions[first.run.number] - 1
    wanted = sorted({anchor.count for anchor in anchors if anchor.count > offset})
    for stretch in shape.path:
        for block in _blocks(stretch):
            place = 0
            while wanted and wanted[0] <= count + block.rows:
                index = wanted[0] - count - 1
                part = block.digests[place : (index + 1) * HMAC_BYTES]
                place += len(part)
                rolling.update(part)
                if flat is not None:
                    flat.update(part)
                sealed = block.sealed[index * HMAC_BYTES : (index + 1) * HMAC_BYTES]
                old = flat.hexdigest() if flat is not None else ""
                marks[wanted.pop(0)] = Mark(block.id_at(index), sealed, rolling.hexdigest(), old)
            rolling.update(block.digests[place:])
            if flat is not None:
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


def _records(stretch: Segment) -> Iterator[Record]:
    return islice(stretch.run.records(), stretch.start, stretch.end + 1)


def _blocks(stretch: Segment) -> Iterator[Block]:
    """Yield the remembered rows of a stretch, cut where it begins and ends."""
    passed = 0
    for block in stretch.run.remembered():
        start, end = max(stretch.start - passed, 0), stretch.end + 1 - passed
        passed += block.rows
        if start < block.rows and end > 0:
            yield block if start == 0 and end >= block.rows else block.cut(start, end)
