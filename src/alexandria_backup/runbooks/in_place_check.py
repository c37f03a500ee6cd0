"""Whether a database can be restored in place: all that could stop it half-way, asked beforehand.

From the moment that things are put aside the application is down. So whatever cannot be put aside,
and whatever could not be created, is refused here, with the reason and with what to do.
"""

from collections.abc import Collection, Iterator, Sequence

from alexandria_backup.archive.inventory import event_triggers as event_triggers_of
from alexandria_backup.archive.inventory import schemas as schemas_of
from alexandria_backup.archive.missing import schema_of_extension
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.errors import PrecheckRefused, RightsMissing, UsageError
from alexandria_backup.postgres.aside import (
    SchemaFacts,
    contents,
    creatable_extensions,
    extensions,
    immovable,
    may_create,
    named,
    room_for_locks,
    schemas,
    writing_roles,
)
from alexandria_backup.postgres.catalog import event_triggers
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts
from alexandria_backup.postgres.default_privileges import default_privileges
from alexandria_backup.postgres.fence import writes_forbidden
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.large_objects import foreign_owner
from alexandria_backup.postgres.put_aside import PUBLIC
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.postgres.server import RoleFacts, role_facts
from alexandria_backup.runbooks.restore_state import RestoreState, Source
from alexandria_backup.runbooks.step import shell

#: What to do where nothing else helps.
_ELSEWHERE = "set `[database] admin_dsn_file` to a role that may create databases, and leave out "
_LEAVE_OUT = f"{_ELSEWHERE}`--in-place`"
#: How many locks moving one object may take: with its indexes, sequences and TOAST table.
_LOCKS_EACH = 4
#: Kinds of entries that have a name in the database and no schema.
_NAMED = frozenset({"PUBLICATION", "SERVER", "FOREIGN DATA WRAPPER"})
#: Where the load keeps its own notes.
_NOTES = "alexandria_backup_load"
_WHY = {
    "subscription": "it writes into tables by their names: drop it, and create it anew afterwards",
    "event trigger": "it would act on every command of the load: disable it until that is over",
    "language": "it can neither be renamed nor be created twice",
    "access method": "it can neither be renamed nor be created twice",
    "cast": "it is of types that stay, and can neither be renamed nor be created twice",
    "transform": "it can neither be renamed nor be created twice",
}


def staying(session: Session, needed: Collection[str] | None) -> frozenset[str]:
    """Return the schemas that are emptied and not renamed.

    An extension that is needed has something there, or the schema is not ours to rename. None
    stands for all extensions that there are.
    """
    return frozenset(
        schema.name
        for schema in _movable(session)
        if not schema.ours
        or (schema.extensions and (needed is None or not set(needed).isdisjoint(schema.extensions)))
    )


def refuse_unfit(
    session: Session, state: RestoreState, source: Source, entries: Sequence[TocEntry]
) -> None:
    """Raise PrecheckRefused, or a child of it, for the first thing that forbids it.

    `session` is in the live database.
    """
    role = role_facts(session)
    refuse_other_holder(session, state.run)
    refuse_without_rights(session, role, state.facts)
    _refuse_who_writes_all_the_same(session)
    refuse_what_stays(session, staying(session, source.extensions))
    _refuse_extensions(session, role, entries)
    _refuse_event_triggers(session, source, entries)
    _refuse_archive(role, source, entries)


def refuse_what_stays(session: Session, stay: Collection[str]) -> None:
    """Raise where something in the session's database can be neither put aside nor left.

    `stay` are the schemas that are emptied and not renamed.
    """
    for schema in schemas(session):
        if schema.name in stay:
            _refuse_contents(session, schema)
    for found in named(session):
        if found.marker is None and not found.ours:
            raise RightsMissing(
                f"{found.kind} `{found.name}` belongs to `{found.owner}`, and our role cannot put "
                "it aside",
                hint=f"psql -c 'alter {found.kind} \"{found.name}\" owner to …'",
            )
    for thing in immovable(session):
        raise PrecheckRefused(
            f"{thing.kind} `{thing.name}` cannot be put aside: {_WHY[thing.kind]}", hint=_LEAVE_OUT
        )
    for default in default_privileges(session, stay):
        if not default.ours:
            raise RightsMissing(
                f"default privileges of `{default.role}` would apply to what is loaded, and our "
                "role cannot put them aside",
                hint=shell("psql", "-c", f'alter default privileges for role "{default.role}" …'),
            )
    owner = foreign_owner(session)
    if owner is not None:
        raise RightsMissing(
            f"large objects belong to `{owner}`, and our role cannot put them aside",
            hint=shell("psql", "-c", f'reassign owned by "{owner}" to …'),
        )


def brought(entries: Sequence[TocEntry]) -> tuple[str, ...]:
    """Return the names that a restore in place of these entries makes, in the whole database."""
    names = {entry.tag for entry in entries if entry.description in _NAMED}
    return tuple(sorted({*names, *schemas_of(entries), PUBLIC, _NOTES}))


def _movable(session: Session) -> Iterator[SchemaFacts]:
    for schema in schemas(session):
        if not schema.of_extension and schema.marker is None:
            yield schema


def refuse_without_rights(session: Session, role: RoleFacts, facts: DatabaseFacts | None) -> None:
    """Raise where the role can neither keep others from writing nor make schemas."""
    if facts is None:
        raise UsageError("there is no live database to restore in place")
    if not role.superuser and facts.owner not in {role.name, *role.member_of}:
        raise RightsMissing(
            f"role `{role.name}` does not own `{facts.name}` (`{facts.owner}` does), so it cannot "
            "keep others from writing to it",
            hint="set `[database] admin_dsn_file` to the DSN of the owner",
        )
    if not may_create(session):
        raise RightsMissing(
            f"role `{role.name}` may not create schemas in `{facts.name}`",
            hint=f'psql -c \'grant create on database "{facts.name}" to "{role.name}"\'',
        )
    if writes_forbidden(facts) in {"on", "true", "yes", "1"}:
        raise PrecheckRefused(
            f"`{facts.name}` only lets its sessions read: a run that was stopped may have set that",
            hint="alexandria run list",
        )


def _refuse_who_writes_all_the_same(session: Session) -> None:
    """The fence is a setting of the database, and a role's own would win over it."""
    for found in writing_roles(session):
        database = session.dsn.database
        where = f" in database {quote_identifier(database)}" if found.only_here else ""
        raise PrecheckRefused(
            f"role `{found.role}` has a `default_transaction_read_only` of its own, and could "
            f"write to `{database}` while it is loaded",
            hint=shell(
                "psql",
                "-c",
                f"alter role {quote_identifier(found.role)}{where} "
                "reset default_transaction_read_only",
            ),
        )


def _refuse_contents(session: Session, schema: SchemaFacts) -> None:
    """What is in a schema that stays must be ours to move, and not more than can be locked."""
    found = contents(session, schema.name)
    why = "since an extension needs it" if schema.extensions else f"as it is `{schema.owner}`'s"
    for item in found:
        if not item.ours:
            raise RightsMissing(
                f"{item.kind} `{item.identity}` belongs to `{item.owner}`, and schema "
                f"`{schema.name}` stays, {why}: it cannot be moved out of there",
                hint=_LEAVE_OUT,
            )
    if not schema.may_create:
        raise RightsMissing(
            f"our role may create nothing in schema `{schema.name}` of `{schema.owner}`",
            hint=shell("psql", "-c", f'grant create on schema "{schema.name}" to …'),
        )
    most = room_for_locks(session) // _LOCKS_EACH
    if len(found) > most:
        raise PrecheckRefused(
            f"{len(found):,} objects must be moved out of schema `{schema.name}` at once, and the "
            f"server can lock no more than about {most:,}",
            hint="raise `max_locks_per_transaction` on the server",
        )


def _refuse_extensions(session: Session, role: RoleFacts, entries: Sequence[TocEntry]) -> None:
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
                hint=_LEAVE_OUT,
            )


def _refuse_event_triggers(session: Session, source: Source, entries: Sequence[TocEntry]) -> None:
    """One that is disabled stays as it is: it would stand in the way of its namesake for good."""
    there = {found.name for found in event_triggers(session)}
    for entry in event_triggers_of(entries):
        if entry.tag in there:
            raise PrecheckRefused(
                f"event trigger `{entry.tag}` of `{source.snapshot}` is there already, disabled, "
                "and cannot be put aside",
                hint=shell("psql", "-c", f"drop event trigger {quote_identifier(entry.tag)}"),
            )


def _refuse_archive(role: RoleFacts, source: Source, entries: Sequence[TocEntry]) -> None:
    """What the archive has must be possible to create here, and must not stand here already."""
    for table in source.tables:
        if not table.complete and table.rows:
            raise PrecheckRefused(
                f"table `{table.label}` belongs to an extension, which stays with its rows: those "
                "in the snapshot would be added to them",
                hint=_LEAVE_OUT,
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
