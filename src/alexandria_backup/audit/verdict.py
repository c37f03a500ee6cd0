"""From what was seen of the rows to the verdict: HMACs, links and anchors put together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from alexandria_backup.audit.anchor import WHOLE_TABLE, Anchor
from alexandria_backup.audit.anchoring import Walked, walk
from alexandria_backup.audit.comparing import compare, of_chain
from alexandria_backup.audit.finding import Code, Finding, Findings
from alexandria_backup.audit.grounds import Grounds, distinct, not_done, standing_notes, status
from alexandria_backup.audit.links import Shape, join
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.audit.retirement import excused, gone_heads
from alexandria_backup.audit.seen_rows import SeenRows

#: What leaves a way from the first row to the last.
_FORKS: Final = frozenset({Code.BRANCH, Code.BRANCH_VALID_HMAC, Code.DUPLICATE_LINK})


def verdict(grounds: Grounds) -> AuditReport:
    """Return the report; raises StorageError where what was remembered cannot be read."""
    return _Verdict(grounds).report()


@dataclass
class _Verdict:
    grounds: Grounds
    anchors: list[Anchor] = field(default_factory=list)
    known: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Chains that agree with an anchor.
    compared: int = 0
    breaks: int = 0

    def report(self) -> AuditReport:
        grounds = self.grounds
        retired_rows = sum(one.rows for one in grounds.retirements)
        # What is excused is not listed, so there must be room for it first.
        self.findings = Findings(grounds.limit + retired_rows)
        hashed = sum(chain.hashed for chain in grounds.chains)
        # Not tampering, as far as can be seen: then rows that do not verify say nothing.
        doubtful = self._doubtful(hashed)
        for chain in grounds.chains:
            self._judge(chain, doubtful=doubtful)
        self._missing_chains()
        counts, listed = self._without_retired()
        # First, so that no list of tenants can push it out.
        self.skipped = [*not_done(grounds, self.compared), *self.skipped]
        return AuditReport(
            status=status(grounds, counts, hashed=hashed, compared=self.compared),
            table=str(grounds.layout.table),
            rows=grounds.rows,
            chains=len(grounds.chains),
            anchors=tuple(self.anchors),
            findings=tuple(listed[: grounds.limit]),
            counts=counts,
            known=tuple(self.known[: grounds.limit]),
            skipped=distinct(self.skipped, grounds.limit),
            uncovered=grounds.layout.table.uncovered(grounds.layout.recipe),
            notes=(
                *standing_notes(grounds, self.breaks),
                *distinct(self.notes, grounds.limit),
            ),
            out_of_order=self.breaks,
        )

    def _judge(self, chain: SeenRows, *, doubtful: bool) -> None:
        grounds = self.grounds
        keyed = grounds.computed and grounds.proved
        gone = gone_heads(grounds.retirements, chain.name, grounds.layout.recipe)
        if grounds.resumed is not None:
            gone[grounds.resumed.previous] = grounds.resumed.position
        shape = join(
            chain.runs,
            chain=chain.name,
            keyed=keyed,
            limit=self.findings.limit,
            retired=gone,
            asked={bad.run.number for bad in chain.bad if bad.run is not None},
        )
        explained = all(
            excused(f, grounds.retirements) and f.code in _FORKS for f in shape.findings.listed
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
        grounds = self.grounds
        anchors = list(of_chain(grounds.anchors, chain.name))
        walked = walk(
            shape,
            grounds.layout.recipe,
            chain=chain.name,
            anchors=anchors,
            incarnation=grounds.incarnations.current,
            resumed=grounds.resumed,
        )
        if walked.anchor is not None:
            self.anchors.append(walked.anchor)
        first = shape.positions[shape.path[0].run.number] if shape.path else 1
        if grounds.resumed is not None:
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
        there = {chain.name for chain in self.grounds.chains}
        lost = [anchor for anchor in self.grounds.anchors if anchor.chain not in there]
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
            self.grounds.layout.recipe,
            broken=broken,
            edited=edited,
            lagging=self.grounds.lagging,
            first=first,
            incarnations=self.grounds.incarnations,
        )
        self.findings.add_all(compared.findings)
        self.skipped += compared.skipped
        self.notes += compared.notes
        self.compared += bool(compared.fitting) and walked is not None

    def _doubtful(self, hashed: int) -> bool:
        grounds = self.grounds
        unread = sum(chain.unreadable for chain in grounds.chains)
        failed = grounds.computed and not grounds.proved
        if not hashed or not (failed or unread == hashed):
            return False
        heads = (run.head_id for chain in grounds.chains for run in chain.runs)
        recipe = grounds.layout.recipe
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
            if excused(finding, self.grounds.retirements):
                self.known.append(finding)
                counts[finding.code] -= 1
            else:
                listed.append(finding)
        return {code: number for code, number in counts.items() if number}, listed
