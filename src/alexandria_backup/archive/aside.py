"""What an archive has of things that a run had put aside when it was dumped."""

from collections.abc import Iterator, Sequence
from typing import Final

from alexandria_backup.archive.missing import schema_of_extension
from alexandria_backup.archive.toc import TocEntry

#: How a comment begins that tells so; see `Marker` of the room `postgres`.
_MARKED: Final = 'IS \'{"alexandria-backup"'
#: Kinds that have no schema themselves, and are of types or functions that have one.
_WITHOUT_SCHEMA: Final = ("CAST", "EVENT TRIGGER", "TRANSFORM")
#: What stands in the name of each schema that was put aside; see `kept_name`.
_KEPT: Final = "_alexandria_kept_"


def without_aside(entries: Sequence[TocEntry]) -> tuple[TocEntry, ...]:
    """Return the entries without publications, extensions, casts and the like that were put aside.

    What they are of is not in the archive: pg_dump was told to leave out the schemas, and cannot be
    told of these. Where the schemas are in it, nothing is left out.
    """
    if any(entry.description == "SCHEMA" and _KEPT in entry.tag for entry in entries):
        return tuple(entries)
    gone = set(_marked(entries)) | {
        entry.dump_id
        for entry in entries
        if (entry.description in _WITHOUT_SCHEMA and _KEPT in (entry.definition or ""))
        or (entry.description == "EXTENSION" and _KEPT in (schema_of_extension(entry) or ""))
    }
    # Members, user mappings, comments and privileges depend on what they are of.
    return tuple(
        entry
        for entry in entries
        if entry.dump_id not in gone and gone.isdisjoint(entry.dependencies)
    )


def _marked(entries: Sequence[TocEntry]) -> Iterator[int]:
    for entry in entries:
        if entry.description == "COMMENT" and _MARKED in (entry.definition or ""):
            yield from entry.dependencies
