"""Large objects put aside and brought back: they have numbers, so nothing can be renamed.

They go into two tables of a schema that a run keeps, and out again, many in one transaction: each
is at any moment in one of both places, so that a crash loses none and either way can be gone on
with.
"""

from collections.abc import Iterator
from typing import Any

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal
from alexandria_backup.postgres.marker import Marker
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.shadow import kept_name

#: How many in one transaction: each is a lock on the server.
_AT_ONCE = 200
#: Bytes of one row.
_PIECE = 1 << 18
_NAME = "alexandria_large_objects"


def foreign_owner(session: Session) -> str | None:
    """Return an owner of large objects that our role cannot take away; None where there is none."""
    found = session.value(load("large_objects")["foreign"])
    return None if found is None else str(found)


def store_name(suffix: str) -> str:
    """Return the schema in which a run keeps large objects."""
    return kept_name(_NAME, suffix)


def objects_aside(session: Session, *, run: str, store: str) -> None:
    """Put all large objects aside, into a store of a run; what was begun is gone on with."""
    queries = load("large_objects")
    name = quote_identifier(store)
    while numbers := _some(session):
        with session.transaction():
            if not _is_there(session, store):
                marker = Marker(run=run, role="kept", of="").encode()
                session.execute(f"CREATE SCHEMA {name}")
                session.execute(f"COMMENT ON SCHEMA {name} IS {quote_literal(marker)}")
                session.execute(queries["tables"].format(store=name))
            session.execute(queries["keep"].format(store=name), (numbers,))
            pieces = queries["keep_pieces"].format(store=name)
            session.execute(pieces, (_PIECE, _PIECE, numbers, _PIECE))
            session.execute(queries["unlink"], (numbers,))


def objects_back(session: Session, store: str) -> None:
    """Make the large objects of a store again, and drop it; where there is none, do nothing."""
    if not _is_there(session, store):
        return
    queries = load("large_objects")
    name = quote_identifier(store)
    while kept := session.records(queries["kept"].format(store=name), (_AT_ONCE,)):
        numbers = [record["oid"] for record in kept]
        with session.transaction():
            session.execute(queries["create"], (numbers,))
            session.execute(queries["fill"].format(store=name), (_PIECE, numbers))
            for statement in (text for record in kept for text in _described(record)):
                session.execute(statement)
            session.execute(queries["forget"].format(store=name), (numbers, numbers))
    session.execute(f"DROP SCHEMA {name} CASCADE")


def drop_objects(session: Session) -> None:
    """Drop all large objects of the database."""
    while numbers := _some(session):
        session.execute(load("large_objects")["unlink"], (numbers,))


def _some(session: Session) -> list[int]:
    return [number for (number,) in session.all(load("large_objects")["some"], (_AT_ONCE,))]


def _is_there(session: Session, store: str) -> bool:
    return (
        session.value("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = %s", (store,))
        is not None
    )


def _described(record: dict[str, Any]) -> Iterator[str]:
    """Yield what gives a large object its comment, privileges and owner."""
    number = int(record["oid"])
    owner = quote_identifier(record["owner"])
    if record["comment"] is not None:
        yield f"COMMENT ON LARGE OBJECT {number} IS {quote_literal(record['comment'])}"
    if not record["ours"]:
        yield f"ALTER LARGE OBJECT {number} OWNER TO {owner}"
    if record["acl"] is None:
        return
    yield f"REVOKE ALL ON LARGE OBJECT {number} FROM {owner}"
    for item in record["acl"]:
        privilege, _, grantee = item.partition(" ")
        to = quote_identifier(grantee) if grantee else "PUBLIC"
        option = " WITH GRANT OPTION" if privilege.endswith("*") else ""
        word = privilege.removesuffix("*")
        yield f"GRANT {word} ON LARGE OBJECT {number} TO {to}{option}"
