"""The walk: every row once, by links and never by id, time or place on disk."""

from collections.abc import Iterable, Sequence

from alexandria_backup.audit.anchor import WHOLE_TABLE, Anchor
from alexandria_backup.audit.anchoring import anchor_of, compare
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.finding import Code, Finding, Findings
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.links import Shape, join
from alexandria_backup.audit.one_chain import OneChain
from alexandria_backup.audit.recipe import Recipe
from alexandria_backup.audit.report import FORGED_TAIL, AuditReport, Status
from alexandria_backup.audit.rows import RowReader
from alexandria_backup.audit.runs import readable


class ChainWalker:
    """Takes the rows of an audit table, some at a time, and says at the end what they are.

    Memory does not grow with the rows where they come in the chain's order, as they do from a table
    that was only appended to; it grows with every place where the order breaks. Rows are UTF-8.
    """

    def __init__(
        self,
        table: AuditTable,
        recipe: Recipe,
        key: AuditKey | None,
        *,
        anchor: Anchor | None = None,
        limit: int = 100,
    ) -> None:
        self._table = table
        self._recipe = recipe
        self._keyed = key is not None
        self._anchor = anchor
        self._marked = 0 if anchor is None else anchor.count
        self._read = RowReader(table, recipe).read
        computable = key is not None and not table.missing(recipe)
        self._judge = Judge(recipe, key) if key is not None and computable else None
        self._chains: dict[bytes | None, OneChain] = {}
        self._findings = Findings(limit)
        self._skipped: list[str] = []
        self._rows = 0

    def feed(self, rows: Sequence[bytes]) -> None:
        """Take rows as COPY text, each without its line feed.

        Raises ArchiveDamaged where a row has not as many values as the table has columns, and
        StorageError where there is no room for what must be remembered.
        """
        read, per_tenant = self._read, self._recipe.per_tenant
        for line in rows:
            row = read(line)
            self._chain(row.tenant if per_tenant else None).take(row)
        self._rows += len(rows)

    def finish(self) -> AuditReport:
        """Return the report. To be called once, after the last row."""
        try:
            return self._finish()
        finally:
            self.close()

    def close(self) -> None:
        """Forget the rows, where nobody asks for the report any more."""
        for chain in self._chains.values():
            chain.log.close()

    def _chain(self, tenant: bytes | None) -> OneChain:
        chain = self._chains.get(tenant)
        if chain is None:
            name = WHOLE_TABLE if tenant is None else readable(tenant)
            marked = self._marked if self._anchor and self._anchor.chain == name else 0
            chain = self._chains[tenant] = OneChain(
                name, self._recipe, self._judge, marked=marked, limit=self._findings.limit
            )
        return chain

    def _finish(self) -> AuditReport:
        anchors: list[Anchor] = []
        compared = False
        chains = sorted(self._chains.values(), key=lambda chain: chain.name)
        hashed = sum(chain.hashed for chain in chains)
        # Not tampering, as far as can be seen: then rows that do not verify say nothing.
        doubtful = self._doubtful(hashed, chains)
        for chain in chains:
            chain.end()
            keyed = self._judge is not None and self._judge.proved
            shape = join(chain.runs, chain.log, chain=chain.name, keyed=keyed)
            self._judge_rows(chain, shape, doubtful=doubtful)
            made, mark = anchor_of(chain, shape, self._recipe, marked=self._marked)
            if made is not None:
                anchors.append(made)
            if self._anchor is not None and self._anchor.chain == chain.name:
                compared = self._compare(self._anchor, shape, made, mark)
        if self._anchor is not None and self._anchor.chain not in {c.name for c in chains}:
            compared = self._compare(self._anchor, None, None, None)
        self._tell_skipped(len(chains))
        return AuditReport(
            status=self._status(hashed, compared=compared),
            rows=self._rows,
            chains=len(chains),
            anchors=tuple(anchors),
            findings=tuple(self._findings.listed),
            counts=dict(self._findings.counts),
            skipped=tuple(self._skipped),
            uncovered=self._table.uncovered(self._recipe),
            notes=self._notes(),
        )

    def _doubtful(self, hashed: int, chains: Iterable[OneChain]) -> bool:
        unread = sum(chain.unreadable for chain in chains)
        failed = self._judge is not None and not self._judge.proved
        if not hashed or not (failed or unread == hashed):
            return False
        first = (
            min(run.head_id for chain in chains for run in chain.runs) if unread < hashed else ""
        )
        self._findings.add(
            Finding(
                code=Code.KEY_OR_ENCODING,
                chain=WHOLE_TABLE,
                position=None,
                id=first,
                before=None,
                after=None,
                detail=f"not one of {hashed:,} rows verifies by the recipe `{self._recipe.name}`: "
                "most likely this is not the chain's key, or not its recipe",
            )
        )
        return True

    def _judge_rows(self, chain: OneChain, shape: Shape, *, doubtful: bool) -> None:
        findings = self._findings
        if not doubtful:
            listed = chain.mismatches(shape.positions)
            unlisted = chain.bad_rows - len(listed)
            findings.add_all(listed, unlisted, Code.ROW_HMAC_MISMATCH)
        findings.add_all(shape.findings)
        older = chain.unhashed.report(findings, chain=chain.name, begins=chain.begins)
        if older:
            self._skipped.append(
                f"{older:,} rows from before the chain carry no HMAC: nothing protects them"
            )

    def _compare(
        self,
        anchor: Anchor,
        shape: Shape | None,
        made: Anchor | None,
        mark: tuple[bytes, str] | None,
    ) -> bool:
        """Compare with the anchor; tell whether that could be done."""
        if shape is not None and shape.path and not shape.whole and mark is None:
            self._skipped.append("anchor: the links break before the row that it names")
            return False
        finding = compare(anchor, made, mark, self._recipe)
        if finding is not None:
            self._findings.add(finding)
        return True

    def _tell_skipped(self, chains: int) -> None:
        missing = self._table.missing(self._recipe)
        if missing:
            listed = ", ".join(f"`{role}`" for role in missing)
            self._skipped.append(f"HMACs: `{self._table}` has no column for {listed}")
        elif not self._keyed:
            self._skipped.append("HMACs: no key was given, so a changed row cannot be seen")
        if self._anchor is None:
            self._skipped.append(
                "anchor: there is none to compare with, so a missing end cannot be seen"
            )
        elif chains > 1:
            self._skipped.append(f"anchor: one of {chains:,} chains was compared")

    def _status(self, hashed: int, *, compared: bool) -> Status:
        doubted = self._findings.counts.get(Code.KEY_OR_ENCODING, 0)
        if sum(self._findings.counts.values()) > doubted:
            return Status.BROKEN
        if not self._rows:
            return Status.EMPTY
        if doubted or not hashed:
            return Status.UNVERIFIED
        if self._judge is None:
            return Status.LINKS_ONLY
        return Status.VERIFIED if compared and len(self._chains) == 1 else Status.INTACT

    def _notes(self) -> tuple[str, ...]:
        uncovered = self._table.uncovered(self._recipe)
        if not uncovered:
            return (FORGED_TAIL,)
        listed = ", ".join(f"`{name}`" for name in uncovered)
        return (FORGED_TAIL, f"no HMAC covers the columns {listed}")
