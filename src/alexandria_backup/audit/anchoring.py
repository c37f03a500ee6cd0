"""Anchors made from a chain, and a chain compared with the anchor of an earlier day."""

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.finding import Code, Finding, shown
from alexandria_backup.audit.links import Shape
from alexandria_backup.audit.one_chain import OneChain
from alexandria_backup.audit.recipe import Recipe
from alexandria_backup.audit.runs import new_rolling


def anchor_of(
    chain: OneChain, shape: Shape, recipe: Recipe, *, marked: int
) -> tuple[Anchor | None, tuple[bytes, str] | None]:
    """Return a whole chain's anchor, and HMAC and digest of its row number `marked`.

    The anchor is None where the links are not whole: nobody should vouch for such a state.
    """
    if not shape.path:
        return None, None
    first = shape.path[0]
    mark = chain.marks.get(first.number)
    if not shape.whole:
        return None, mark
    rolling, count = (first.rolling or new_rolling()).copy(), first.rows
    for run in shape.path[1:]:
        for record in chain.log.records(run.offset, run.rows):
            rolling.update(record.digest)
            count += 1
            if count == marked:
                mark = (record.sealed, rolling.hexdigest())
    last = shape.path[-1]
    anchor = Anchor(
        chain=chain.name,
        count=count,
        first_id=first.head_id,
        first_hmac=recipe.write(first.head),
        last_id=last.tip_id,
        last_hmac=recipe.write(last.tip),
        rolling=rolling.hexdigest(),
    )
    return anchor, mark


def compare(
    anchor: Anchor, made: Anchor | None, mark: tuple[bytes, str] | None, recipe: Recipe
) -> Finding | None:
    """Return what is wrong with a chain by its anchor; None where it goes on from there.

    `made` is the chain's own anchor now, and `mark` what stands at the anchor's position.
    """
    rows = 0 if made is None else made.count
    if mark is None:
        detail = f"the chain has {rows:,} rows, and had {anchor.count:,} when it was anchored"
        return _finding(Code.BEHIND_ANCHOR, anchor, made, detail)
    sealed, rolling = mark
    if recipe.write(sealed) != anchor.last_hmac:
        detail = f"in its place stands a row with HMAC {shown(sealed)}"
        return _finding(Code.ANCHOR_MISMATCH, anchor, made, detail)
    if rolling != anchor.rolling:
        detail = "a row up to here is not what it was when the chain was anchored"
        return _finding(Code.ANCHOR_MISMATCH, anchor, made, detail)
    return None


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
