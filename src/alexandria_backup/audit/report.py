"""What a verification found, and what it could not look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.finding import Code, Finding
from alexandria_backup.errors import ExitCode

#: Every report says so: no check of this kind can see it.
FORGED_TAIL = (
    "a row that somebody who has the key appended at the end cannot be told from a genuine one"
)


class Status(StrEnum):
    """The verdict on all chains of a table together."""

    #: HMACs, links and an anchor were checked, and all are good.
    VERIFIED = "verified"
    #: HMACs and links are good; there was no anchor to compare with.
    INTACT = "intact"
    #: Links are whole; no HMAC was recomputed.
    LINKS_ONLY = "links_only"
    #: Something is wrong.
    BROKEN = "broken"
    #: Nothing wrong was seen, and nothing could be proved.
    UNVERIFIED = "unverified"
    #: There is no audit table.
    ABSENT = "absent"
    #: The audit table has no rows, and no anchor says that it had.
    EMPTY = "empty"


_EXIT_CODES: Mapping[Status, ExitCode] = {
    Status.VERIFIED: ExitCode.DONE,
    Status.INTACT: ExitCode.DONE,
    Status.LINKS_ONLY: ExitCode.AUDIT_UNVERIFIED,
    Status.BROKEN: ExitCode.AUDIT_BROKEN,
    Status.UNVERIFIED: ExitCode.AUDIT_UNVERIFIED,
    Status.ABSENT: ExitCode.DONE,
    Status.EMPTY: ExitCode.DONE,
}


def exit_code_of(status: Status) -> ExitCode:
    """Return how a command that verifies ends with this verdict; see `AuditReport.exit_code`."""
    return _EXIT_CODES[status]


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """The verdict, what it rests on, and its limits."""

    status: Status
    #: The table, as `schema.name`; empty where there is none.
    table: str = ""
    rows: int
    chains: int
    #: One per chain whose links are whole; a broken chain has none.
    anchors: tuple[Anchor, ...]
    #: The first findings; `counts` has all.
    findings: tuple[Finding, ...]
    counts: Mapping[Code, int]
    #: What a retirement explains, and so is no fault: the first of them.
    known: tuple[Finding, ...] = ()
    #: What was not checked, each with its reason.
    skipped: tuple[str, ...]
    #: Columns that no HMAC covers.
    uncovered: tuple[str, ...]
    notes: tuple[str, ...]
    #: Places where the next row in the table was not the next one of its chain.
    out_of_order: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """How a command that verifies ends.

        `intact` is 0: HMACs and links are good, and what only an anchor could show is listed as
        skipped. Whoever requires a chain must not take `absent` or `empty` for proof.
        """
        return exit_code_of(self.status)

    def summary(self) -> str:
        """Return the verdict in one line; the same for the same rows in any order."""
        if self.status is Status.ABSENT:
            return "no audit table"
        said = f"{self.status}: {self.rows:,} rows"
        if self.chains > 1:
            said += f" in {self.chains:,} chains"
        if not self.counts:
            return said
        counted = sorted(self.counts.items())
        return f"{said}, " + ", ".join(f"{number:,} {code}" for code, number in counted)


def absent(finding: Finding | None) -> AuditReport:
    """Return the report on a database without an audit table; broken where there must be one."""
    return AuditReport(
        status=Status.BROKEN if finding else Status.ABSENT,
        rows=0,
        chains=0,
        anchors=(),
        findings=(finding,) if finding else (),
        counts={finding.code: 1} if finding else {},
        skipped=("there is no audit table",),
        uncovered=(),
        notes=(),
    )
