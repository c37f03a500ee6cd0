"""What a check of a repository finds, in words and in codes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: As much is named of each kind; the rest is counted.
_MOST: Final = 20


class Severity(StrEnum):
    """How bad a finding is."""

    #: Something is lost, damaged, or not to be believed.
    ERROR = "error"
    #: Somebody should look at it.
    WARNING = "warning"
    #: Left over, and harmless; the next prune or snapshot sees to it.
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class RepositoryFinding:
    """One thing that a check found."""

    severity: Severity
    #: A stable word for scripts, such as `object-missing`.
    code: str
    #: The name in the store, or the snapshot's id.
    about: str
    message: str


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a check found."""

    repository: str
    snapshots: int
    objects: int
    #: Of all objects.
    bytes: int
    #: Objects whose bytes were read and compared with their names.
    read: int
    ledger_entries: int
    #: The ledger's heads: keep them elsewhere.
    heads: tuple[str, ...]
    findings: tuple[RepositoryFinding, ...]

    def of(self, severity: Severity) -> tuple[RepositoryFinding, ...]:
        """Return the findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)


def abridged(findings: Sequence[RepositoryFinding]) -> tuple[RepositoryFinding, ...]:
    """Name the first of each kind, and count the rest: a million orphans are one fact."""
    counts: Counter[str] = Counter()
    shown: list[RepositoryFinding] = []
    for finding in findings:
        counts[finding.code] += 1
        if counts[finding.code] <= _MOST:
            shown.append(finding)
    for code, count in counts.items():
        if count > _MOST:
            first = next(finding for finding in findings if finding.code == code)
            shown.append(
                RepositoryFinding(
                    severity=first.severity,
                    code=code,
                    about="",
                    message=f"and {count - _MOST:,} more",
                )
            )
    order = list(Severity)
    return tuple(sorted(shown, key=lambda finding: order.index(finding.severity)))
