"""What can be wrong with a chain: codes, and findings that name rows."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

#: So much of an HMAC is shown: enough to tell rows apart.
_SHOWN = 12


class Code(StrEnum):
    """What is wrong; stable words for scripts."""

    #: The row is not what was signed.
    ROW_HMAC_MISMATCH = "row_hmac_mismatch"
    #: The row that a row follows is gone.
    LINK_BROKEN = "link_broken"
    #: The first row there is follows one that is gone.
    HEAD_MISSING = "head_missing"
    #: Two rows follow the same row, and not both are what was signed, or nobody can tell.
    BRANCH = "branch"
    #: Two rows follow the same row, and both are what was signed: two writers, not tampering.
    BRANCH_VALID_HMAC = "branch_valid_hmac"
    #: Two rows have the same HMAC and the same predecessor: one is a copy.
    DUPLICATE_LINK = "duplicate_link"
    #: A row without an HMAC that is not older than the chain.
    HMAC_STRIPPED = "hmac_stripped"
    #: No row at all verifies: most likely not the key, or not the recipe, of this chain.
    KEY_OR_ENCODING = "key_or_encoding"
    #: The chain ends before the row that the anchor names.
    BEHIND_ANCHOR = "behind_anchor"
    #: The chain up to the anchor's row is not what was anchored.
    ANCHOR_MISMATCH = "anchor_mismatch"
    #: The chain agrees with an anchor and goes another way before the next, and no restore said so.
    FORK = "fork"
    #: The first rows were retired, and there is a record of it; not a fault.
    HEAD_RETIRED = "head_retired"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, and where."""

    code: Code
    #: The tenant; empty where the table is one chain.
    chain: str
    #: Place in the chain, the first row being 1; None where the links do not lead there.
    position: int | None
    #: The row's id.
    id: str
    #: The ids of the rows before and after it; None where there is none or it is not known.
    before: str | None
    after: str | None
    #: What was seen, in words; of an HMAC only its beginning.
    detail: str

    def describe(self) -> str:
        """Return the finding as one line."""
        place = f"row `{self.id}`" + (f", {self.position:,} in the chain" if self.position else "")
        chain = f" of chain `{self.chain}`" if self.chain else ""
        near = [
            f"{word} `{ident}`"
            for word, ident in (("after", self.before), ("before", self.after))
            if ident is not None
        ]
        between = f" ({', '.join(near)})" if near else ""
        return f"{self.code}: {place}{chain}{between}: {self.detail}"


class Findings:
    """Counts all findings and keeps the first `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counts: Counter[Code] = Counter()
        self.listed: list[Finding] = []

    def count(self, code: Code, *, waiting: int = 0) -> bool:
        """Count a finding; tell whether it can be listed, besides so many that wait for that."""
        self.counts[code] += 1
        return len(self.listed) + waiting < self.limit

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it while there is room."""
        if self.count(finding.code):
            self.listed.append(finding)

    def add_all(
        self, findings: Iterable[Finding], unlisted: int = 0, code: Code | None = None
    ) -> None:
        """Add findings, and to the count of `code` those that were not kept at all."""
        for finding in findings:
            self.add(finding)
        if code is not None and unlisted > 0:
            self.counts[code] += unlisted

    def merge(self, other: "Findings") -> None:
        """Add what others are, counted and listed."""
        self.counts.update(other.counts)
        self.listed += other.listed[: max(self.limit - len(self.listed), 0)]


def shown(sealed: bytes | None) -> str:
    """Return the beginning of an HMAC for a message."""
    return "none" if sealed is None else f"{sealed.hex()[:_SHOWN]}…"
