"""From what was seen of the rows to the verdict: HMACs, links and anchors put together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from alexandria_backup.audit.anchor import WHOLE_TABLE, Anchor
from alexandria_backup.audit.anchoring import Resumed, Walked, walk
from alexandria_backup.audit.comparing import compare, of_chain
from alexandria_backup.audit.finding import Code, Finding, Findings
from alexandria_backup.audit.incarnation import Histories
from alexandria_backup.audit.links import Shape, join
from alexandria_backup.audit.report import FORGED_TAIL, AuditReport, Status
from alexandria_backup.audit.retirement import Retirement, excused, gone_heads
from alexandria_backup.audit.rows import Layout
from alexandria_backup.audit.seen_rows import SeenRows

#: What leaves a way from the first row to the last.
_FORKS: Final = frozenset({Code.BRANCH, Code.BRANCH_VALID_HMAC, Code.DUPLICATE_LINK})


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a verdict rests on."""

    layout: Layout
    #: Whether there was a key; whether HMACs could be computed with it; whether one was right.
    keyed: bool
    computed: bool
    proved: bool
    rows: int
    chains: Sequence[SeenRows]
    anchors: Sequence[Anchor]
    histories: Histories
    retirements: Sequence[Retirement]
    limit: int
    #: Whether the server is a standby, which may not have the newest rows yet.
    lagging: bool = False
    #: Where the rows at hand begin, if the ones before are not read again.
    resumed: Resumed | None = None


def verdict(evidence: Evidence) -> AuditReport:
    """Return the report; raises StorageError where what was remembered cannot be read."""
    return _Verdict(evidence).report()


@dataclass
class _Verdict:
    evidence: Evidence
    anchors: list[Anchor] = field(default_factory=list)
    known: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Chains that agree with an anchor.
    compared: int = 0
    breaks: int = 0

    def report(self) -> AuditReport:
        evidence = self.evidence
        retired_rows = sum(one.rows for one in evidence.retirements)
        # What is excused is not listed, so there must be room for it first.
        self.findings = Findings(evidence.limit + retired_rows)
        hashed = sum(chain.hashed for chain in evidence.chains)
        # Not tampering, as far as can be seen: then rows that do not verify say nothing.
        doubtful = self._doubtful(hashed)
        for chain in evidence.chains:
            self._judge(chain, doubtful=doubtful)
        self._missing_chains()
        counts, listed = self._without_retired()
        self._tell_skipped()
        return AuditReport(
            status=self._status(hashed, sum(counts.values()), counts.get(Code.KEY_OR_ENCODING, 0)),
            table=str(evidence.layout.table),
            rows=evidence.rows,
            chains=len(evidence.chains),
            anchors=tuple(self.anchors),
            findings=tuple(listed[: evidence.limit]),
            counts=counts,
            known=tuple(self.known[: evidence.limit]),
            skipped=_listed(self.skipped, evidence.limit),
            uncovered=evidence.layout.table.uncovered(evidence.layout.recipe),
            notes=(*self._standing_notes(), *_listed(self.notes, evidence.limit)),
            out_of_order=self.breaks,
        )

    def _judge(self, chain: SeenRows, *, doubtful: bool) -> None:
        evidence = self.evidence
        keyed = evidence.computed and evidence.proved
        gone = gone_heads(evidence.retirements, chain.name, evidence.layout.recipe)
        if evidence.resumed is not None:
            gone[evidence.resumed.previous] = evidence.resumed.position
        shape = join(
            chain.runs,
            chain=chain.name,
            keyed=keyed,
            limit=self.findings.limit,
            retired=gone,
            asked={bad.run.number for bad in chain.bad if bad.run is not None},
        )
        explained = all(
            excused(f, evidence.retirements) and f.code in _FORKS for f in shape.findings.listed
        )
        if explained and len(shape.findings.listed) == shape.findings.counts.total():
            shape = replace(shape, whole=bool(shape.path))
        self.breaks += chain.breaks
        if not doubtful:
            listed = chain.mismatches(shape)
            unlisted = chain.bad_rows - len(listed)
            self.findings.add_all(listed, unlisted, Code.ROW_HMAC_MISMATCH)
        self.findings.merge(shape.findings)
        older = chain.unhashed.report(self.findings, chain=chain.name, begins=chain.begins)
        if older:
            self.skipped.append(
                f"rows from before the chain, which carry no HMAC: {older:,}; nothing protects them"
            )
        self._compare(chain, shape, edited=bool(chain.bad_rows) and not doubtful)

    def _compare(self, chain: SeenRows, shape: Shape, *, edited: bool) -> None:
        evidence = self.evidence
        anchors = list(of_chain(evidence.anchors, chain.name))
        walked = walk(
            shape,
            evidence.layout.recipe,
            chain=chain.name,
            anchors=anchors,
            incarnation=evidence.histories.current,
            resumed=evidence.resumed,
        )
        if walked.anchor is not None:
            self.anchors.append(walked.anchor)
        first = shape.positions[shape.path[0].run.number] if shape.path else 1
        if evidence.resumed is not None:
            # What is not read again is there: whoever asked has seen that it did not change.
            first = 1
        if first > 1:
            self._head_retired(chain.name, shape, first)
        self._take_comparison(
            anchors,
            walked if shape.path else None,
            # Where no row carries an HMAC there are no links, and nothing is left of the chain.
            broken=not shape.whole and bool(chain.runs),
            edited=edited,
            first=first,
        )

    def _head_retired(self, chain: str, shape: Shape, first: int) -> None:
        self.known.append(
            Finding(
                code=Code.HEAD_RETIRED,
                chain=chain,
                position=first,
                id=shape.path[0].run.head_id,
                before=None,
                after=None,
                detail=f"the {first - 1:,} rows before it were retired, and a record says so",
            )
        )

    def _missing_chains(self) -> None:
        """Compare anchors of chains that are not there any more."""
        there = {chain.name for chain in self.evidence.chains}
        lost = [anchor for anchor in self.evidence.anchors if anchor.chain not in there]
        self._take_comparison(lost, None, broken=False, edited=False, first=1)

    def _take_comparison(
        self,
        anchors: Sequence[Anchor],
        walked: Walked | None,
        *,
        broken: bool,
        edited: bool,
        first: int,
    ) -> None:
        compared = compare(
            anchors,
            walked,
            self.evidence.layout.recipe,
            broken=broken,
            edited=edited,
            lagging=self.evidence.lagging,
            first=first,
            histories=self.evidence.histories,
        )
        self.findings.add_all(compared.findings)
        self.skipped += compared.skipped
        self.notes += compared.notes
        self.compared += bool(compared.fitting) and walked is not None

    def _doubtful(self, hashed: int) -> bool:
        evidence = self.evidence
        unread = sum(chain.unreadable for chain in evidence.chains)
        failed = evidence.computed and not evidence.proved
        if not hashed or not (failed or unread == hashed):
            return False
        heads = (run.head_id for chain in evidence.chains for run in chain.runs)
        recipe = evidence.layout.recipe
        self.findings.add(
            Finding(
                code=Code.KEY_OR_ENCODING,
                chain=WHOLE_TABLE,
                position=None,
                id=min(heads, default=""),
                before=None,
                after=None,
                detail=f"not one of {hashed:,} rows verifies by the recipe `{recipe.name}`: "
                "most likely this is not the chain's key, or not its recipe",
            )
        )
        return True

    def _without_retired(self) -> tuple[dict[Code, int], list[Finding]]:
        """Take out the findings that a retirement explains; they are known."""
        counts = dict(self.findings.counts)
        listed = []
        for finding in self.findings.listed:
            if excused(finding, self.evidence.retirements):
                self.known.append(finding)
                counts[finding.code] -= 1
            else:
                listed.append(finding)
        return {code: number for code, number in counts.items() if number}, listed

    def _tell_skipped(self) -> None:
        evidence, table = self.evidence, self.evidence.layout.table
        self.skipped += table.doubts
        missing = table.missing(evidence.layout.recipe)
        if missing:
            listed = ", ".join(f"`{field}`" for field in missing)
            self.skipped.append(f"HMACs: `{table}` has no column for {listed}")
        elif not evidence.keyed:
            self.skipped.append("HMACs: no key was given, so a changed row cannot be seen")
        if not evidence.anchors:
            self.skipped.append(
                "anchor: there is none to compare with, so a missing end cannot be seen"
            )
        elif 0 < self.compared < len(evidence.chains):
            self.skipped.append(
                f"anchor: {self.compared:,} of {len(evidence.chains):,} chains were compared"
            )

    def _status(self, hashed: int, findings: int, doubted: int) -> Status:
        evidence = self.evidence
        if findings > doubted:
            return Status.BROKEN
        if not evidence.rows:
            return Status.EMPTY
        lagging = evidence.lagging and evidence.anchors and not self.compared
        if doubted or not hashed or evidence.layout.table.doubts or lagging:
            return Status.UNVERIFIED
        if not evidence.computed:
            return Status.LINKS_ONLY
        everywhere = self.compared and self.compared == len(evidence.chains)
        return Status.VERIFIED if everywhere else Status.INTACT

    def _standing_notes(self) -> tuple[str, ...]:
        notes = [FORGED_TAIL]
        uncovered = self.evidence.layout.table.uncovered(self.evidence.layout.recipe)
        if uncovered:
            listed = ", ".join(f"`{name}`" for name in uncovered)
            notes.append(f"no HMAC covers the columns {listed}")
        if self.breaks:
            notes.append(
                f"places where rows are stored out of the chain's order: {self.breaks:,}; each "
                "costs time and memory, and says nothing against them"
            )
        return tuple(notes)


def _listed(lines: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return the first of several lines, each once: there may be one for each tenant or anchor."""
    different = tuple(dict.fromkeys(lines))
    more = len(different) - limit
    return different if more <= 0 else (*different[:limit], f"and {more:,} more like these")
