"""Whether a database can be restored in place: all that could stop it half-way, asked beforehand.

From the moment that things are put aside the application is down. So whatever cannot be put aside,
and whatever could not be created, is refused here, with the reason and with what to do.
"""

from collections.abc import Collection, Iterator, Sequence

from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.errors import PrecheckRefused, RightsMissing, UsageError
from alexandria_backup.postgres.aside import (
    SchemaFacts,
    contents,
    immovable,
    may_create,
    named,
    room_for_locks,
    schemas,
    writing_roles,
)
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts
from alexandria_backup.postgres.default_privileges import default_privileges
from alexandria_backup.postgres.fence import writes_forbidden
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.large_objects import foreign_owner
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.postgres.server import RoleFacts, role_facts
from alexandria_backup.runbooks import in_place_archive
from alexandria_backup.runbooks.in_place_archive import LEAVE_OUT
from alexandria_backup.runbooks.restore_state import RestoreState, Source
from alexandria_backup.runbooks.step import shell

#: How many locks moving one object may take: with its indexes, sequences and TOAST table.
_LOCKS_EACH = 4
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
    in_place_archive.refuse_extensions(session, role, entries)
    in_place_archive.refuse_event_triggers(session, source, entries)
    in_place_archive.refuse_archive(role, source, entries)


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
            f"{thing.kind} `{thing.name}` cannot be put aside: {_WHY[thing.kind]}", hint=LEAVE_OUT
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
                hint=LEAVE_OUT,
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
