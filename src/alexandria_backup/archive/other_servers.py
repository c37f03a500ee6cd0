"""What of an archive reaches for other servers while it is loaded.

A database under construction must not act on the world. Filling a materialized view runs its query,
and where that reads a foreign table or calls a function such as those of `dblink`, another server
does what it asks: sequences move there, rows are written. The rows of a foreign table, as
`pg_dump --include-foreign-data` writes them, would be inserted on the other server.

What depends on what stands in the archive. The body of a function stands there as text only, so the
names in it are looked for; what a function puts together at run time cannot be told.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alexandria_backup.archive.inventory import TableName
from alexandria_backup.archive.toc import TocEntry

#: Extensions with functions that speak to other servers, or run programs.
_ACTING_EXTENSIONS: Final = frozenset(
    {"aws_lambda", "aws_s3", "dblink", "dblink_plus", "http", "pg_background", "pg_net", "plproxy",
     "plsh", "wrappers", "pljavau", "plperlu", "plpython3u", "plpythonu", "pltclu"}
)  # fmt: skip
#: Words of a function's body that do the same, with the extension wherever it is.
_ACTING_WORD: Final = re.compile(r"dblink\w*|http_(get|post|put|delete|head|patch)")
_UNTRUSTED: Final = re.compile(r"\bLANGUAGE\s+\"?(pl\w+u|plsh|plproxy)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+")
_FOREIGN: Final = "FOREIGN TABLE"
_FUNCTIONS: Final = frozenset({"FUNCTION", "PROCEDURE"})
_TABLES: Final = frozenset({"TABLE", _FOREIGN})
#: What runs the queries of what it depends on, or is called by what depends on it.
_HANDS_ON: Final = _FUNCTIONS | {
    *("AGGREGATE", "CAST", "DOMAIN", "MATERIALIZED VIEW", "OPERATOR", "RULE", "TYPE", "VIEW")
}


@dataclass(frozen=True, kw_only=True)
class OtherServers:
    """What is not loaded, since other servers would have to do something for it."""

    #: Materialized views that stay without rows.
    views: tuple[TableName, ...]
    #: Foreign tables whose rows are in the archive and are not inserted.
    foreign_rows: tuple[TableName, ...]
    #: Numbers of the entries that would do it.
    entries: frozenset[int]


def other_servers(entries: Sequence[TocEntry]) -> OtherServers:
    """Return what of these entries would have other servers do something."""
    reaching = _reaching(entries)
    foreign = {(e.namespace, e.tag) for e in entries if e.description == _FOREIGN}
    fills = [
        entry
        for entry in entries
        if entry.description == "MATERIALIZED VIEW DATA"
        and not reaching.isdisjoint(entry.dependencies)
    ]
    rows = [
        entry
        for entry in entries
        if entry.description == "TABLE DATA" and (entry.namespace, entry.tag) in foreign
    ]
    return OtherServers(
        views=tuple(map(_name, fills)),
        foreign_rows=tuple(map(_name, rows)),
        entries=frozenset(entry.dump_id for entry in (*fills, *rows)),
    )


def _reaching(entries: Sequence[TocEntry]) -> set[int]:
    """Return the numbers of what reaches for other servers when it is read or called."""
    reaching: set[int] = set()
    names: set[str] = set()
    parents = _parents(entries)
    grown = True
    while grown:
        grown = False
        for entry in entries:
            if entry.dump_id not in reaching and _reaches(entry, reaching, names):
                reaching.add(entry.dump_id)
                names.add(entry.tag.partition("(")[0])
                grown = True
        # Who reads a table reads its partitions, and what inherits from it.
        above = {up for down in reaching for up in parents.get(down, ())} - reaching
        names |= {entry.tag for entry in entries if entry.dump_id in above}
        reaching |= above
        grown = grown or bool(above)
    return reaching


def _reaches(entry: TocEntry, reaching: set[int], names: set[str]) -> bool:
    if entry.description == _FOREIGN:
        return True
    if entry.description == "EXTENSION":
        return entry.tag in _ACTING_EXTENSIONS
    if entry.description not in _HANDS_ON:
        return False
    return not reaching.isdisjoint(entry.dependencies) or (
        entry.description in _FUNCTIONS and _says_so(entry.definition or "", names)
    )


def _says_so(definition: str, names: set[str]) -> bool:
    """Tell whether the body of a function names something that reaches for another server."""
    words = set(_WORD.findall(definition))
    return (
        _UNTRUSTED.search(definition) is not None
        or not names.isdisjoint(words)
        or any(_ACTING_WORD.fullmatch(word.lower()) for word in words)
    )


def _parents(entries: Sequence[TocEntry]) -> dict[int, set[int]]:
    """Return the tables that each table is a part of: as a partition, or by inheritance."""
    tables = {entry.dump_id: entry for entry in entries if entry.description in _TABLES}
    found: dict[int, set[int]] = {}
    for entry in entries:
        related = tables.keys() & set(entry.dependencies)
        if entry.description == "TABLE ATTACH":
            # The entry is called as the partition is, which alone tells it from its parent.
            name = (entry.namespace, entry.tag)
            parts = {n for n in related if (tables[n].namespace, tables[n].tag) == name}
            for part in parts:
                found.setdefault(part, set()).update(related - parts)
        elif entry.dump_id in tables:
            found.setdefault(entry.dump_id, set()).update(related)
    return found


def _name(entry: TocEntry) -> TableName:
    return TableName(entry.namespace or "", entry.tag)
