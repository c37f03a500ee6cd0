"""Lines of the application's log in which it doubts its audit chain."""

import re

#: What is meant, and that it is not well: both must be in a line, in any order.
_AUDIT = re.compile(r"audit", re.IGNORECASE)
_INTEGRITY = re.compile(r"integrity|chain|hmac|prev_hash|seq(uence)?\b|tamper", re.IGNORECASE)
_TROUBLE = re.compile(
    r"\bwarn|\berror|\bcrit|\bfatal|\balert|broken|mismatch|fail|invalid|tamper|violat|gap",
    re.IGNORECASE,
)
#: How much of a line is shown, in characters.
_SHOWN = 200


def integrity_warnings(log: str) -> tuple[str, ...]:
    """Return the lines that warn of the audit chain's integrity, in order, fit to be printed."""
    return tuple(
        "".join(c if c.isprintable() else " " for c in line.strip())[:_SHOWN]
        for line in log.splitlines()
        if all(found.search(line) for found in (_AUDIT, _INTEGRITY, _TROUBLE))
    )
