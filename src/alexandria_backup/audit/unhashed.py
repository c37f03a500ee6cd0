"""Rows without an HMAC: allowed only where they are older than the chain."""

import heapq
from array import array
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
        self.limit = limit
        self._limit = max(limit, 1)
        #: The newest, oldest first.
        self.newest: list[At] = []
        self.linked: list[str] = []
        self.linked_rows = 0
        #: When each was made, so that all can be counted; 8 bytes a row.
        self.times = array("q")

    def add(self, at: At, *, linked: bool) -> None:
        """Take a row; `linked` says that it still names the row before it."""
        self.rows += 1
        if linked:
            self.linked_rows += 1
            if len(self.linked) < self._limit:
                self.linked.append(at[1])
        else:
            self.times.append(at[0])
            self._remember(at)

    def add_all(self, other: "Unhashed") -> None:
        """Take in the rows that another process has seen of the same chain."""
        self.rows += other.rows
        self.linked_rows += other.linked_rows
        self.linked += other.linked[: max(self._limit - len(self.linked), 0)]
        self.times.extend(other.times)
        for at in other.newest:
            self._remember(at)

    def _remember(self, at: At) -> None:
        if len(self.newest) < self._limit:
            heapq.heappush(self.newest, at)
        else:
            heapq.heappushpop(self.newest, at)

    def report(self, findings: Findings, *, chain: str, begins: At | None) -> int:
        """Add what was stripped; return the number of rows that are older than the chain.

        `begins` is the chain's first row; None where no row carries an HMAC.
        """
        late = sorted(at for at in self.newest if begins is not None and at > begins)
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
        newer = 0 if begins is None else sum(at > begins[0] for at in self.times)
        stripped = max(len(late), newer)
        unlisted = self.linked_rows - len(self.linked) + stripped - len(late)
        findings.add_all((), unlisted, Code.HMAC_STRIPPED)
        return self.rows - self.linked_rows - stripped

    def _stripped(self, late: list[At]) -> Iterator[tuple[str, str]]:
        for ident in self.linked:
            yield ident, "it names the row before it and has no HMAC of its own"
        for _, ident in late:
            yield ident, "it has no HMAC and is not older than the chain"
