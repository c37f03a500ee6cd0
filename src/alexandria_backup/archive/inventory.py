"""What the table of contents tells a restore, before any data are read."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from alexandria_backup.archive.grants import roles_in
from alexandria_backup.archive.toc import TocEntry

#: Restored by `pg_restore --create` only: a restore of ours makes the database itself.
_OF_THE_DATABASE: Final = ("DATABASE", "DATABASE PROPERTIES")
#: Kinds of entries whose SQL names roles.
WITH_ROLES: Final = ("ACL", "DEFAULT ACL", "POLICY", "USER MAPPING")
#: Kinds of entries that `pg_restore` gives to nobody, or that are not loaded with the rest.
_NOT_GIVEN: Final = (
    "ACL", "COMMENT", "DEFAULT ACL", "EVENT TRIGGER", "EXTENSION", "SECURITY LABEL",
    "SUBSCRIPTION", "TABLE DATA",
)  # fmt: skip
_BREAKS: Final = re.compile(r"[\r\n]+")


class TableName(NamedTuple):
    """A table's schema and name, unquoted."""

    schema: str
    name: str

    @property
    def label(self) -> str:
        """The name as people write it."""
        return f"{self.schema}.{self.name}"


def tables(entries: Iterable[TocEntry]) -> tuple[TableName, ...]:
    """Return the tables, in order: those defined here, and those that only have data here."""
    found = {
        TableName(entry.namespace or "", entry.tag): None
        for entry in entries
        if entry.description in ("TABLE", "TABLE DATA")
    }
    return tuple(found)


def tables_without_data(entries: Sequence[TocEntry]) -> tuple[TableName, ...]:
    """Return the tables that are defined here and for which the archive has no data, not even none.

    So it is with `--schema-only` and `--exclude-table-data`. A partitioned table has no rows of its
    own and does not count.
    """
    with_data = {(e.namespace or "", e.tag) for e in entries if e.description == "TABLE DATA"}
    return tuple(
        TableName(entry.namespace or "", entry.tag)
        for entry in entries
        if entry.description == "TABLE"
        and "PARTITION BY" not in (entry.definition or "")
        and (entry.namespace or "", entry.tag) not in with_data
    )


def schemas(entries: Iterable[TocEntry]) -> tuple[str, ...]:
    """Return the schemas that the archive creates."""
    return tuple(entry.tag for entry in entries if _creates_schema(entry))


def creates_public_schema(entries: Iterable[TocEntry]) -> bool:
    """Tell whether the archive creates `public`, as one of `pg_dump --schema=public` does.

    A new database has a schema `public` already, so it must be dropped before such a restore.
    """
    return "public" in schemas(entries)


def _creates_schema(entry: TocEntry) -> bool:
    # From PostgreSQL 15 on, an entry for `public` may hold nothing but a comment in SQL.
    return entry.description == "SCHEMA" and "CREATE SCHEMA" in (entry.definition or "")


def extensions(entries: Iterable[TocEntry]) -> tuple[str, ...]:
    """Return the names of the extensions that the archive creates."""
    return tuple(entry.tag for entry in entries if entry.description == "EXTENSION")


def event_triggers(entries: Iterable[TocEntry]) -> tuple[TocEntry, ...]:
    """Return the entries that create event triggers, which act on whatever is restored later."""
    return _described(entries, "EVENT TRIGGER")


def publications(entries: Iterable[TocEntry]) -> tuple[TocEntry, ...]:
    """Return the entries that create publications, their members left out."""
    return _described(entries, "PUBLICATION")


def not_validated(entries: Iterable[TocEntry]) -> tuple[str, ...]:
    """Return the constraints that hold for new rows only, as `schema.table name`."""
    return tuple(
        f"{entry.namespace}.{entry.tag}"
        for entry in entries
        if entry.description.endswith("CONSTRAINT")
        and (entry.definition or "").rstrip().endswith("NOT VALID;")
    )


def subscriptions(entries: Iterable[TocEntry]) -> tuple[TocEntry, ...]:
    """Return the entries that create subscriptions, which reach for other servers."""
    return _described(entries, "SUBSCRIPTION")


def _described(entries: Iterable[TocEntry], description: str) -> tuple[TocEntry, ...]:
    return tuple(entry for entry in entries if entry.description == description)


class Ownership(NamedTuple):
    """A role that owns something in a schema, and the schema's owner."""

    owner: str
    #: None where the archive does not create the schema: `public`, mostly.
    schema_owner: str | None
    schema: str


def ownerships(entries: Sequence[TocEntry]) -> tuple[Ownership, ...]:
    """Return who is made the owner of something, in which schema; sorted.

    `pg_restore` creates an object as the role that restores, then gives it away: that role must be
    able to become the owner, and the owner must be allowed to create in the schema.
    """
    created = {entry.tag: entry.owner for entry in entries if _creates_schema(entry)}
    found = {
        Ownership(entry.owner, created.get(entry.namespace or entry.tag), entry.namespace or "")
        for entry in entries
        if entry.owner and not _belongs_to_database(entry) and entry.description not in _NOT_GIVEN
    }
    return tuple(sorted(found, key=lambda item: (item.owner, item.schema)))


def roles_needed(entries: Iterable[TocEntry], *, with_database: bool = False) -> tuple[str, ...]:
    """Return the roles that must exist for owners and privileges to be restored, sorted.

    They own something, are granted or denied something, or a policy or user mapping names them;
    PUBLIC is no role. `with_database` adds those of the database itself, which only
    `pg_restore --create` restores.
    """
    found: set[str] = set()
    for entry in entries:
        if _belongs_to_database(entry) and not with_database:
            continue
        if entry.owner:
            found.add(entry.owner)
        if entry.description in WITH_ROLES:
            found |= roles_in(entry.definition or "")
    return tuple(sorted(found))


def _belongs_to_database(entry: TocEntry) -> bool:
    return entry.description in _OF_THE_DATABASE or (
        entry.description in ("ACL", "COMMENT", "SECURITY LABEL")
        and entry.tag.startswith("DATABASE ")
    )


def list_file(entries: Iterable[TocEntry], keep: Callable[[TocEntry], bool]) -> str:
    """Return the text of a list for `pg_restore --use-list`, in the archive's order.

    Entries that `keep` refuses stand there as comments. pg_restore reads the leading number only;
    the rest is for people.
    """
    lines = ["; made from the archive's table of contents; what stands behind a `;` is left out"]
    lines += [f"{'' if keep(entry) else ';'}{_line(entry)}" for entry in entries]
    return "\n".join(lines) + "\n"


def _line(entry: TocEntry) -> str:
    text = (
        f"{entry.dump_id}; {entry.table_oid} {entry.oid} {entry.description} "
        f"{entry.namespace or '-'} {entry.tag} {entry.owner or '-'}"
    )
    # A line break in a name would begin a new line, and a number there a new entry.
    return _BREAKS.sub(" ", text)
