"""The walk: every row once, by links and never by id, time or place on disk."""

from collections.abc import Iterable, Sequence

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.anchoring import Resumed
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.grounds import Grounds
from alexandria_backup.audit.incarnation import Incarnations
from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.one_chain import OneChain
from alexandria_backup.audit.recipe import Recipe
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.audit.retirement import Retirement
from alexandria_backup.audit.rows import Layout, RowReader
from alexandria_backup.audit.runs import RunLog, readable
from alexandria_backup.audit.seen_rows import SeenRows
from alexandria_backup.audit.verdict import verdict


class ChainWalker:
    """Takes the rows of an audit table, some at a time, and says at the end what they are.

    Memory does not grow with the rows where they come in the chain's order, as they do from a table
    that was only appended to; it grows with every place where the order breaks. Rows are UTF-8.
    """

    def __init__(
        self,
        table: AuditTable,
        recipe: Recipe,
        key: AuditKey | KeyRing | None,
        *,
        anchor: Anchor | None = None,
        anchors: Sequence[Anchor] = (),
        limit: int = 100,
        log: RunLog | None = None,
    ) -> None:
        self.layout = Layout(table, recipe)
        self._keyed = key is not None
        self._anchors = (*anchors, *((anchor,) if anchor else ()))
        self._canonical = RowReader(table, recipe).canonical
        computable = key is not None and not table.missing(recipe)
        self.judge = Judge(recipe, key) if key is not None and computable else None
        self._chains: dict[bytes | None, OneChain] = {}
        self._seen: dict[bytes | None, SeenRows] = {}
        self.limit = limit
        self._log = log or RunLog()
        self._proved = False
        self.rows = 0

    def feed(self, rows: Sequence[bytes]) -> None:
        """Take rows as COPY text, each without its line feed.

        Raises ArchiveDamaged where a row has not as many values as the table has columns, and
        StorageError where there is no room for what must be remembered.
        """
        self.feed_canonical(list(map(self._canonical, rows)))

    def feed_canonical(self, rows: Sequence[bytes]) -> None:
        """Take rows in canonical form; raises StorageError as `feed` does."""
        self.rows += len(rows)
        if not self.layout.recipe.per_tenant:
            self._chain(None).take(rows)
            return
        by_tenant: dict[bytes | None, list[bytes]] = {}
        for row in rows:
            by_tenant.setdefault(self.layout.tenant_of(row), []).append(row)
        for tenant, part in by_tenant.items():
            self._chain(tenant).take(part)

    def seen(self) -> dict[bytes | None, SeenRows]:
        """Return what was seen, by tenant: after the last row, for another process to `absorb`."""
        self._end()
        self._log.flush()
        return self._seen

    def absorb(self, seen: dict[bytes | None, SeenRows], *, rows: int, proved: bool) -> None:
        """Take in the rows that another process has seen; they come after those seen so far."""
        self._end()
        self.rows += rows
        self._proved = self._proved or proved
        for tenant, part in seen.items():
            if tenant in self._seen:
                self._seen[tenant].add(part)
            else:
                self._seen[tenant] = part

    def finish(
        self,
        *,
        incarnations: Incarnations | None = None,
        retirements: Sequence[Retirement] = (),
        resumed: Resumed | None = None,
        lagging: bool = False,
    ) -> AuditReport:
        """Return the report. To be called once, after the last row."""
        try:
            self._end()
            return verdict(
                Grounds(
                    layout=self.layout,
                    keyed=self._keyed,
                    computed=self.judge is not None,
                    proved=self._proved or (self.judge is not None and self.judge.proved),
                    rows=self.rows,
                    chains=tuple(sorted(self._seen.values(), key=lambda seen: seen.name)),
                    anchors=self._anchors,
                    incarnations=incarnations or Incarnations(()),
                    retirements=retirements,
                    limit=self.limit,
                    resumed=resumed,
                    lagging=lagging,
                )
            )
        finally:
            self.close()

    def close(self) -> None:
        """Forget the rows, where nobody asks for the report any more."""
        self._log.close()
        for seen in self._seen.values():
            _close_logs(seen)

    def _end(self) -> None:
        for tenant, chain in self._chains.items():
            chain.end()
            self._seen.setdefault(tenant, chain.seen)
        self._chains.clear()

    def _chain(self, tenant: bytes | None) -> OneChain:
        chain = self._chains.get(tenant)
        if chain is None:
            name = "" if tenant is None else readable(tenant)
            chain = self._chains[tenant] = OneChain(
                name, self.layout, self.judge, self._log, limit=self.limit
            )
        return chain


def _close_logs(seen: SeenRows) -> None:
    logs: Iterable[RunLog] = {id(run.log): run.log for run in seen.runs}.values()
    for log in logs:
        log.close()
