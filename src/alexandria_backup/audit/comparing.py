"""A chain compared with the anchors of earlier days."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.anchoring import Mark, Walked
from alexandria_backup.audit.finding import Code, Finding, shown
from alexandria_backup.audit.incarnation import Incarnations
from alexandria_backup.audit.recipe import Recipe


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
    incarnations: Incarnations | None = None,
) -> Compared:
    """Compare a chain with its anchors; `walked` is None where the chain is not there at all.

    `broken` says that its links do not lead to its end, and `edited` that rows of it are known not
    to be what was signed, so that another content is no news; `first` is the position of its first
    row, where the ones before were retired. An anchor that fits an earlier incarnation of the
    database, one that a declared restore has ended, tells of rows given up and is no finding. On a
    standby, which may be `lagging`, rows that are not there yet are no finding either, and no
    proof.
    """
    compared = Compared()
    incarnations = incarnations or Incarnations(())
    agreed: Anchor | None = None
    for anchor in sorted(anchors, key=lambda one: one.count):
        kept = incarnations.kept(anchor.incarnation, anchor.chain)
        if kept is not None and anchor.count > kept[1]:
            compared.notes.append(
                f"an anchor of {anchor.count:,} rows is of an earlier incarnation: "
                f"{kept[0].describe()} went back to {kept[1]:,} rows"
            )
            continue
        mark = None if walked is None else walked.marks.get(anchor.count)
        reason = _incomparable(anchor, mark, broken=broken, lagging=lagging, first=first)
        if reason is not None:
            compared.skipped.append(reason)
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
            known = incarnations.knows(anchor.incarnation)
            compared.findings.append(_told(finding, anchor, mark, agreed, known=known))
    return compared


def _incomparable(
    anchor: Anchor, mark: Mark | None, *, broken: bool, lagging: bool, first: int
) -> str | None:
    """Return why nothing can be said of an anchor; None where it can be compared."""
    if anchor.count < first:
        return f"anchor of {anchor.count:,} rows: these rows were retired"
    if mark is None and broken:
        return "anchor: the links break before the row that it names"
    if mark is None and lagging:
        return f"anchor of {anchor.count:,} rows: this is a standby, and may not have them yet"
    return None


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
        before=made.last_id if made is not None and code is Code.BEHIND_ANCHOR else None,
        after=None,
        detail=detail,
    )


def of_chain(anchors: Iterable[Anchor], chain: str) -> Iterator[Anchor]:
    """Yield the anchors of one chain."""
    return (anchor for anchor in anchors if anchor.chain == chain)
