"""What an archive has of things that a run had put aside when it was dumped."""

from collections.abc import Sequence
from typing import Final

from alexandria_backup.archive.toc import TocEntry

#: How a comment begins that tells so; see `Marker` of the room `postgres`.
_MARKED: Final = 'IS \'{"alexandria-backup"'


def without_aside(entries: Sequence[TocEntry]) -> tuple[TocEntry, ...]:
    """Return the entries without publications, servers and the like that were put aside.

    Their tables are not in the archive: pg_dump was told to leave out the schemas, and cannot be
    told of these. Where the schemas are in it, nothing is left out.
    """
    marked = {
        number
        for entry in entries
        if entry.description == "COMMENT" and _MARKED in (entry.definition or "")
        for number in entry.dependencies
    }
    kinds = {entry.description for entry in entries if entry.dump_id in marked}
    if not marked or "SCHEMA" in kinds:
        return tuple(entries)
    # Members, user mappings, comments and privileges depend on what they are of.
    return tuple(
        entry
        for entry in entries
        if entry.dump_id not in marked and marked.isdisjoint(entry.dependencies)
    )
