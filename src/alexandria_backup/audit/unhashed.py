"""Rows without an HMAC: allowed only where they are older than the chain."""

import heapq
from collections.abc import Iterator

from alexandria_backup.audit.finding import Code, Finding, Findings

#: A row's time in microseconds, and its id.
At = tuple[int, str]


class Unhashed:
    """The rows of one chain that carry no HMAC; memory is bounded by the limit of the findings.

    Rows from before the chain was started have none. One that is not older than the chain's first
    row had one, and somebody took it away.
    """

    def __init__(self, limit: int) -> None:
        #: All of them.
        self.rows = 0
        self._limit = max(limit, 1)
        #: The newest, oldest first.
        self._newest: list[At] = []
        self._linked: list[str] = []
        self._linked_rows = 0

    def add(self, at: At, *, linked: bool) -> None:
        """Take a row; `linked` says that it still names the row before it."""
        self.rows += 1
        if linked:
            self._linked_rows += 1
            if len(self._linked) < self._limit:
                self._linked.append(at[1])
        elif len(self._newest) < self._limit:
            heapq.heappush(self._newest, at)
        else:
            heapq.heappushpop(self._newest, at)

    def report(self, findings: Findings, *, chain: str, begins: At | None) -> int:
        """Add what was stripped; return the number of rows that are older than the chain.

        `begins` is the chain's first row; None where no row carries an HMAC.
        """
        late = sorted(at for at in self._newest if begins is not None and at > begins)
        for ident, detail in self._stripped(late):
            findings.add(
                Finding(
                    code=Code.HMAC_STRIPPED,
                    chain=chain,
                    position=None,
                    id=ident,
                    before=None,
                    after=None,
                    detail=detail,
                )
            )
        findings.add_all((), self._linked_rows - len(self._linked), Code.HMAC_STRIPPED)
        return self.rows - self._linked_rows - len(late)

    def _stripped(self, late: list[At]) -> Iterator[tuple[str, str]]:
        for ident in self._linked:
            yield ident, "it names the row before it and has no HMAC of its own"
        full = len(late) == self._limit
        for _, ident in late:
            yield (
                ident,
                "it has no HMAC and is not older than the chain"
                + ("; there may be more of them than are listed" if full else ""),
            )
