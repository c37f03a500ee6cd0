"""Extensions that work in one database of a server only, known by its name: `pg_cron`.

Such an extension cannot be created in a database beside the live one. What of it stands in an
archive is told apart here: its creation, its rows, its privileges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alexandria_backup.archive.toc import TocEntry

#: The extension, and the schema of its own that it keeps its rows in.
NAME: Final = "pg_cron"
SCHEMA: Final = "cron"
_ROWS: Final = "TABLE DATA"
_SEQUENCE: Final = "SEQUENCE SET"


@dataclass(frozen=True, kw_only=True)
class BoundExtension:
    """What an archive has of such an extension."""

    #: Numbers of the entries that create it and describe it.
    creation: frozenset[int]
    #: Numbers of the entries that grant something in its schema.
    privileges: frozenset[int]
    #: The entries with the rows of its tables.
    rows: tuple[TocEntry, ...]
    #: Names of its sequences.
    sequences: tuple[str, ...]
    #: Why it cannot be taken apart from the rest; None where it can.
    objection: str | None


def bound_extension(entries: Sequence[TocEntry]) -> BoundExtension | None:
    """Return what an archive has of `pg_cron`; None where it has none."""
    own = [e for e in entries if e.description == "EXTENSION" and e.tag == NAME]
    if not own:
        return None
    creation = {e.dump_id for e in own} | {
        e.dump_id for e in entries if e.description == "COMMENT" and e.tag == f"EXTENSION {NAME}"
    }
    inside = [
        entry
        for entry in entries
        if entry.namespace == SCHEMA
        or (entry.description == "ACL" and entry.tag == f"SCHEMA {SCHEMA}")
    ]
    rows = tuple(entry for entry in inside if entry.description == _ROWS)
    return BoundExtension(
        creation=frozenset(creation),
        privileges=frozenset(entry.dump_id for entry in inside if entry.description == "ACL"),
        rows=rows,
        sequences=tuple(entry.tag for entry in inside if entry.description == _SEQUENCE),
        objection=_objection(entries, inside, creation),
    )


def _objection(
    entries: Sequence[TocEntry], inside: Sequence[TocEntry], creation: set[int]
) -> str | None:
    for entry in inside:
        if entry.description not in {"ACL", _ROWS, _SEQUENCE}:
            return f"{_named(entry)} stands in its schema `{SCHEMA}`"
        if entry.description == _ROWS and entry.copy_statement is None:
            return f"the rows of `{SCHEMA}.{entry.tag}` are INSERT commands"
    # Its tables are not in the archive, and yet have the numbers that others depend on.
    theirs = creation | {number for entry in inside for number in entry.dependencies}
    known = creation | {entry.dump_id for entry in inside}
    for entry in entries:
        if entry.dump_id not in known and not theirs.isdisjoint(entry.dependencies):
            return f"{_named(entry)} depends on it"
    return None


def _named(entry: TocEntry) -> str:
    return f"{entry.description.lower()} `{entry.namespace or ''}.{entry.tag}`"
