"""What an archive brings into a database that is restored in place, and what of it cannot come."""

from collections.abc import Sequence

from alexandria_backup.archive.inventory import event_triggers as event_triggers_of
from alexandria_backup.archive.inventory import schemas as schemas_of
from alexandria_backup.archive.missing import schema_of_extension
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.errors import PrecheckRefused, RightsMissing
from alexandria_backup.postgres.aside import creatable_extensions, extensions
from alexandria_backup.postgres.catalog import event_triggers
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.put_aside import PUBLIC
from alexandria_backup.postgres.server import RoleFacts
from alexandria_backup.runbooks.restore_state import Source
from alexandria_backup.runbooks.step import shell

#: What to do where nothing else helps.
LEAVE_OUT = "set `[database] admin_dsn_file` to a role with CREATEDB, and leave out `--in-place`"
#: Kinds of entries that have a name in the database and no schema.
_NAMED = frozenset({"PUBLICATION", "SERVER", "FOREIGN DATA WRAPPER"})
#: Where the load keeps its own notes.
_NOTES = "alexandria_backup_load"


def brought(entries: Sequence[TocEntry]) -> tuple[str, ...]:
    """Return the names that a restore in place of these entries makes, in the whole database."""
    names = {entry.tag for entry in entries if entry.description in _NAMED}
    return tuple(sorted({*names, *schemas_of(entries), PUBLIC, _NOTES}))


def refuse_extensions(session: Session, role: RoleFacts, entries: Sequence[TocEntry]) -> None:
    """An extension cannot be moved, so it must be where the archive wants it, or be creatable."""
    there = extensions(session)
    can_create = creatable_extensions(session)
    for entry in entries:
        if entry.description != "EXTENSION":
            continue
        wanted = schema_of_extension(entry)
        found = there.get(entry.tag)
        if found is None and not role.superuser and entry.tag not in can_create:
            raise RightsMissing(
                f"extension `{entry.tag}` is not there, and role `{role.name}` may not create it",
                hint=f'have a superuser run: create extension "{entry.tag}"',
            )
        if found is not None and wanted not in {None, found.schema}:
            raise PrecheckRefused(
                f"extension `{entry.tag}` is in schema `{found.schema}`, and in `{wanted}` in the "
                "snapshot: it cannot be moved, since what was put aside needs it, too",
                hint=LEAVE_OUT,
            )


def refuse_event_triggers(session: Session, source: Source, entries: Sequence[TocEntry]) -> None:
    """One that is disabled stays as it is: it would stand in the way of its namesake for good."""
    there = {found.name for found in event_triggers(session)}
    for entry in event_triggers_of(entries):
        if entry.tag in there:
            raise PrecheckRefused(
                f"event trigger `{entry.tag}` of `{source.snapshot}` is there already, disabled, "
                "and cannot be put aside",
                hint=shell("psql", "-c", f"drop event trigger {quote_identifier(entry.tag)}"),
            )


def refuse_archive(role: RoleFacts, source: Source, entries: Sequence[TocEntry]) -> None:
    """What the archive has must be possible to create here, and must not stand here already."""
    for table in source.tables:
        if not table.complete and table.rows:
            raise PrecheckRefused(
                f"table `{table.label}` belongs to an extension, which stays with its rows: those "
                "in the snapshot would be added to them",
                hint=LEAVE_OUT,
            )
    for entry in entries:
        everything = "FOR ALL TABLES" in (entry.definition or "")
        if role.superuser:
            continue
        if entry.description == "PUBLICATION" and everything:
            raise RightsMissing(
                f"publication `{entry.tag}` in `{source.snapshot}` is for all tables, and only a "
                "superuser can create it",
                hint="set `[database] admin_dsn_file` to the DSN of a superuser",
            )
        if entry.description == "FOREIGN DATA WRAPPER":
            raise RightsMissing(
                f"only a superuser can create foreign-data wrapper `{entry.tag}` of "
                f"`{source.snapshot}`",
                hint="set `[database] admin_dsn_file` to the DSN of a superuser",
            )
