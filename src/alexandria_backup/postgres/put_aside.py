"""Everything in a database put aside, under names of a run's own, and brought back.

A schema is renamed with all that is in it. One that must stay, since an extension that is still
needed has its members there, or since it is not ours to rename, is emptied: what is in it moves to
a schema beside it. An extension is never moved: that asks for the ownership of each of its members,
and those of a trusted one are the bootstrap superuser's. What has a name in the database and no
schema (publications, foreign servers, foreign-data wrappers) is renamed, too.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from alexandria_backup.postgres.aside import (
    DEFAULTS,
    OBJECTS,
    SCHEMA,
    Aside,
    SchemaFacts,
    contents,
    named,
    schemas,
    things_aside,
)
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import Grant
from alexandria_backup.postgres.default_privileges import (
    bring_back_defaults,
    default_privileges,
    reset_defaults,
    written,
)
from alexandria_backup.postgres.identifiers import quote_grantee, quote_identifier, quote_literal
from alexandria_backup.postgres.marker import Marker, MarkerRole
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.shadow import kept_name

#: The schema that a new database has.
PUBLIC = "public"
#: From this version on, nobody but the database's owner creates in it.
_CLOSED_PUBLIC = 150000
#: Kinds that are dropped one by one before their schema: one transaction could not lock them all.
_RELATIONS = frozenset({"foreign table", "materialized view", "sequence", "table", "view"})
#: How ALTER calls what `pg_identify_object` calls otherwise.
_KEYWORDS = {
    "aggregate": "routine",
    "function": "routine",
    "procedure": "routine",
    "statistics object": "statistics",
}


def put_aside(
    session: Session,
    *,
    run: str,
    role: MarkerRole,
    suffix: str,
    staying: Collection[str],
    only: Collection[str] | None = None,
) -> None:
    """Put what is in the database aside, but for what extensions have made.

    `staying` schemas are emptied, all others renamed; where `only` names are given, what has
    another one is left as it is. To be called in a transaction, so that all of it happens or
    nothing. Raises StatementFailed where the server refuses.
    """
    defaults = default_privileges(session, staying)
    if defaults and role == "kept":
        name = kept_name("alexandria_default_privileges", suffix)
        marker = Marker(run=run, role=role, of="", comment=written(session, defaults))
        reset_defaults(session, defaults)
        session.execute(f"CREATE SCHEMA {quote_identifier(name)}")
        _comment(session, SCHEMA, name, marker.encode())
    else:
        reset_defaults(session, defaults)
    for schema in schemas(session):
        if schema.of_extension or schema.marker is not None:
            continue
        if only is not None and schema.name not in only:
            continue
        name = kept_name(schema.name, suffix)
        stays = schema.name in staying
        marker = Marker(run=run, role=role, of=schema.name, comment=schema.comment, stays=stays)
        if stays:
            _empty(session, schema, name)
        else:
            _rename(session, SCHEMA, schema.name, name)
        _comment(session, SCHEMA, name, marker.encode())
    for found in named(session):
        if found.marker is None and (only is None or found.name in only):
            name = kept_name(found.name, suffix)
            marker = Marker(run=run, role=role, of=found.name, comment=found.comment)
            _rename(session, found.kind, found.name, name)
            _comment(session, found.kind, name, marker.encode())


def bring_back(session: Session, things: Collection[Aside]) -> None:
    """Give what was put aside its names again; to be called in a transaction.

    What has these names now must have been put aside before. Large objects have none, and are left
    to `large_objects`.
    """
    for aside in things:
        if aside.kind in {DEFAULTS, OBJECTS}:
            continue
        if aside.marker.stays:
            _fill(session, aside)
            continue
        _rename(session, aside.kind, aside.name, aside.marker.of)
        _comment(session, aside.kind, aside.marker.of, aside.marker.comment)
    for aside in things:
        if aside.kind == DEFAULTS:
            # At the end: they may be those of a schema.
            bring_back_defaults(session, aside.marker.comment or "[]")
            session.execute(f"DROP SCHEMA {quote_identifier(aside.name)}")


def exchange(
    session: Session,
    back: Collection[Aside],
    *,
    run: str,
    role: MarkerRole,
    suffix: str,
    only: Collection[str] | None = None,
) -> None:
    """Put what is there aside, as `put_aside` does, and bring something `back` in its place."""
    staying = {aside.marker.of for aside in back if aside.marker.stays}
    put_aside(session, run=run, role=role, suffix=suffix, staying=staying, only=only)
    bring_back(session, back)


def make_public(session: Session) -> None:
    """Create the schema `public` as a new database has it."""
    session.execute(f"CREATE SCHEMA {PUBLIC}")
    _make_as_new(session, PUBLIC)


def condemn(session: Session, things: Collection[Aside]) -> None:
    """Mark it as to be dropped: what is half gone must not come back as if it were whole."""
    for aside in things:
        marker = replace(aside.marker, role="shadow")
        _comment(session, _word(aside), aside.name, marker.encode())


def drop_aside(session: Session, *, run: str, role: MarkerRole) -> None:
    """Drop what a run has put aside in this role, relation by relation; doing it twice is fine."""
    found = [aside for aside in things_aside(session, run) if aside.marker.role == role]
    # A publication names tables, a foreign table its server: what others need goes last.
    for kind in ("publication", SCHEMA, OBJECTS, DEFAULTS, "server", "foreign data wrapper"):
        for aside in found:
            if aside.kind != kind:
                continue
            if kind == SCHEMA:
                drop_relations(session, aside.name)
            name = quote_identifier(aside.name)
            session.execute(f"DROP {_word(aside)} IF EXISTS {name} CASCADE")


def drop_relations(session: Session, schema: str) -> None:
    """Drop the tables, views and sequences of a schema, each in a transaction of its own."""
    for item in contents(session, schema):
        if item.kind in _RELATIONS:
            session.execute(f"DROP {item.kind} IF EXISTS {item.identity} CASCADE")


def _empty(session: Session, schema: SchemaFacts, kept: str) -> None:
    """Move all that can move out of a schema; it is then as it would be in a new database."""
    session.execute(f"CREATE SCHEMA {quote_identifier(kept)}")
    _move(session, schema.name, kept)
    if not schema.ours:
        return
    owner = quote_identifier(schema.owner)
    session.execute(f"ALTER SCHEMA {quote_identifier(kept)} OWNER TO {owner}")
    _grant(session, kept, _grants(session, schema.name))
    _make_as_new(session, schema.name)


def _fill(session: Session, aside: Aside) -> None:
    """Move what was in a schema back into it, and drop what held it meanwhile."""
    home = next((found for found in schemas(session) if found.name == aside.marker.of), None)
    if home is None:
        # Whoever dropped the extension has dropped it, too.
        _rename(session, SCHEMA, aside.name, aside.marker.of)
        _comment(session, SCHEMA, aside.marker.of, aside.marker.comment)
        return
    _move(session, aside.name, home.name)
    if home.ours:
        _grant(session, home.name, _grants(session, aside.name))
        _comment(session, SCHEMA, home.name, aside.marker.comment)
    session.execute(f"DROP SCHEMA {quote_identifier(aside.name)}")


def _move(session: Session, source: str, target: str) -> None:
    for item in contents(session, source):
        keyword = _KEYWORDS.get(item.kind, item.kind)
        # Without placeholders: an identity may hold a percent sign.
        session.execute(f"ALTER {keyword} {item.identity} SET SCHEMA {quote_identifier(target)}")


def _make_as_new(session: Session, schema: str) -> None:
    """Give a schema of ours owner, privileges and comment as in a new database."""
    if schema != PUBLIC:
        owner = next(found.owner for found in schemas(session) if found.name == schema)
        _grant(session, schema, tuple(_all_of(owner)))
        _comment(session, SCHEMA, schema, None)
        return
    closed = session.server_version >= _CLOSED_PUBLIC
    if closed:
        session.execute(f"ALTER SCHEMA {PUBLIC} OWNER TO pg_database_owner")
    owner = next(found.owner for found in schemas(session) if found.name == schema)
    everybody = ("USAGE",) if closed else ("CREATE", "USAGE")
    grants = (*_all_of(owner), *(Grant(grantee=None, privilege=one) for one in everybody))
    _grant(session, schema, grants)
    _comment(session, SCHEMA, PUBLIC, "standard public schema")


def _all_of(owner: str) -> Iterator[Grant]:
    for privilege in ("CREATE", "USAGE"):
        yield Grant(grantee=owner, privilege=privilege)


def _grants(session: Session, schema: str) -> tuple[Grant, ...]:
    return tuple(Grant(**record) for record in session.records(load("aside")["grants"], [schema]))


def _grant(session: Session, schema: str, grants: Collection[Grant]) -> None:
    """Make the privileges on a schema these, and no others."""
    found = _grants(session, schema)
    if set(found) == set(grants):
        return
    name = quote_identifier(schema)
    for grantee in {grant.grantee for grant in found}:
        session.execute(f"REVOKE ALL ON SCHEMA {name} FROM {quote_grantee(grantee)} CASCADE")
    for grant in grants:
        option = " WITH GRANT OPTION" if grant.grantable else ""
        session.execute(
            f"GRANT {grant.privilege} ON SCHEMA {name} TO {quote_grantee(grant.grantee)}{option}"
        )


def _word(aside: Aside) -> str:
    return SCHEMA if aside.kind in {DEFAULTS, OBJECTS} else aside.kind


def _rename(session: Session, kind: str, name: str, new_name: str) -> None:
    session.execute(f"ALTER {kind} {quote_identifier(name)} RENAME TO {quote_identifier(new_name)}")


def _comment(session: Session, kind: str, name: str, comment: str | None) -> None:
    text = "NULL" if comment is None else quote_literal(comment)
    session.execute(f"COMMENT ON {kind} {quote_identifier(name)} IS {text}")
