"""What a verdict rests on, and what follows from that alone: how far it goes, and its limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.anchoring import Resumed
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.incarnation import Incarnations
from alexandria_backup.audit.report import FORGED_TAIL, Status
from alexandria_backup.audit.retirement import Retirement
from alexandria_backup.audit.rows import Layout
from alexandria_backup.audit.seen_rows import SeenRows


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """All that a verdict rests on."""

    layout: Layout
    #: Whether there was a key; whether HMACs could be computed with it; whether one was right.
    keyed: bool
    computed: bool
    proved: bool
    rows: int
    chains: Sequence[SeenRows]
    anchors: Sequence[Anchor]
    incarnations: Incarnations
    retirements: Sequence[Retirement]
    limit: int
    #: Whether the server is a standby, which may not have the newest rows yet.
    lagging: bool = False
    #: Where the rows at hand begin, if the ones before are not read again.
    resumed: Resumed | None = None


def status(grounds: Grounds, counts: Mapping[Code, int], *, hashed: int, compared: int) -> Status:
    """Return the verdict: `hashed` rows carry an HMAC, `compared` chains agree with an anchor."""
    table, doubted = grounds.layout.table, counts.get(Code.KEY_OR_ENCODING, 0)
    if sum(counts.values()) > doubted:
        return Status.BROKEN
    if not grounds.rows:
        return Status.EMPTY
    lagging = grounds.lagging and grounds.anchors and not compared
    if doubted or not hashed or table.doubts or lagging:
        return Status.UNVERIFIED
    if not grounds.computed:
        return Status.LINKS_ONLY
    everywhere = compared and compared == len(grounds.chains)
    return Status.VERIFIED if everywhere else Status.INTACT


def not_done(grounds: Grounds, compared: int) -> list[str]:
    """Return what could not be looked at, each with its reason."""
    table = grounds.layout.table
    missing = table.missing(grounds.layout.recipe)
    told = list(table.doubts)
    if missing:
        listed = ", ".join(f"`{field}`" for field in missing)
        told.append(f"HMACs: `{table}` has no column for {listed}")
    elif not grounds.keyed:
        told.append("HMACs: no key was given, so a changed row cannot be seen")
    if not grounds.anchors:
        told.append("anchor: there is none to compare with, so a missing end cannot be seen")
    elif 0 < compared < len(grounds.chains):
        told.append(f"anchor: {compared:,} of {len(grounds.chains):,} chains were compared")
    return told


def standing_notes(grounds: Grounds, breaks: int) -> list[str]:
    """Return what a person should know of each verification, and of this table and recipe."""
    notes = [FORGED_TAIL]
    uncovered = grounds.layout.table.uncovered(grounds.layout.recipe)
    if uncovered:
        listed = ", ".join(f"`{name}`" for name in uncovered)
        notes.append(f"no HMAC covers the columns {listed}")
    if breaks:
        notes.append(
            f"places where rows are stored out of the chain's order: {breaks:,}; each "
            "costs time and memory, and says nothing against them"
        )
    return notes


def distinct(lines: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return the first of several lines, each once: there may be one for each tenant or anchor."""
    different = tuple(dict.fromkeys(lines))
    more = len(different) - limit
    return different if more <= 0 else (*different[:limit], f"and {more:,} more like these")
