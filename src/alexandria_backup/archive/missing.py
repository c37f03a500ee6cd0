"""What of an archive is still to be loaded where a part of it is there already."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from alexandria_backup.archive.toc import TocEntry

#: Entries of an extension's own tables and sequences: it has made them itself.
_DATA = frozenset({"TABLE DATA", "SEQUENCE SET"})


@dataclass(frozen=True, kw_only=True)
class There:
    """What a database has already."""

    schemas: Collection[str]
    #: Those of the schemas on which our role can neither grant nor comment.
    foreign_schemas: Collection[str]
    extensions: Collection[str]
    #: Schema and name of each table and sequence that extensions have made.
    members: Collection[tuple[str, str]]


def missing(entries: Sequence[TocEntry], there: There) -> tuple[TocEntry, ...]:
    """Return the entries that do not stand for what is there."""
    return tuple(_missing(entries, there))


def _missing(entries: Sequence[TocEntry], there: There) -> Iterator[TocEntry]:
    known = {entry.dump_id for entry in entries}
    extensions = {f"EXTENSION {name}" for name in there.extensions}
    foreign = {f"SCHEMA {name}" for name in there.foreign_schemas}
    for entry in entries:
        match entry.description:
            case "SCHEMA":
                skipped = entry.tag in there.schemas
            case "EXTENSION":
                skipped = entry.tag in there.extensions
            case "COMMENT":
                skipped = _described(entry) in extensions | foreign
            case "ACL" if entry.tag.startswith("SCHEMA "):
                skipped = _described(entry) in foreign
            case "ACL":
                # Of what an extension has made: what is granted on it is not ours to give.
                skipped = bool(entry.dependencies) and known.isdisjoint(entry.dependencies)
            case kind if kind in _DATA:
                skipped = (entry.namespace or "", entry.tag) in there.members
            case _:
                skipped = False
        if not skipped:
            yield entry


def schema_of_extension(entry: TocEntry) -> str | None:
    """Return where an EXTENSION entry creates it, unquoted; None where it says nothing of that."""
    _, found, rest = (entry.definition or "").partition(" WITH SCHEMA ")
    return _unquoted(rest.rstrip().removesuffix(";").strip()) if found else None


def _described(entry: TocEntry) -> str:
    """Return what a COMMENT or ACL entry is of; its tag is SQL, unlike those of others."""
    kind, _, name = entry.tag.partition(" ")
    return f"{kind} {_unquoted(name)}"


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
