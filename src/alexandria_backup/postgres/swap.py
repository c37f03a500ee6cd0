"""The swap: one database takes another's name, in one transaction."""

from dataclasses import replace

from alexandria_backup.errors import PrecheckRefused, SessionsRemain, StatementFailed, UsageError
from alexandria_backup.postgres.activity import other_sessions, prepared_transactions
from alexandria_backup.postgres.attributes import set_attributes
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts
from alexandria_backup.postgres.fence import fence
from alexandria_backup.postgres.identifiers import fits, quote_identifier, quote_literal
from alexandria_backup.postgres.marker import Marker
from alexandria_backup.postgres.queries import load

_OBJECT_IN_USE = "55006"
#: Seconds for sessions in the incoming database: our own, and whoever looks into every database.
_PATIENCE = 10.0


def who_is(session: Session, name: str) -> int | None:
    """Return the OID of the database of this name, or None where there is none."""
    oid = session.value(load("database")["oid_of"], [name])
    return None if oid is None else int(oid)


def name_of(session: Session, oid: int) -> str | None:
    """Return the name of the database with this OID, or None where there is none."""
    name = session.value(load("database")["name_of"], [oid])
    return None if name is None else str(name)


def swap(
    maintenance: Session,
    *,
    live: str,
    live_oid: int | None,
    incoming: str | None,
    incoming_oid: int | None,
    kept: str,
    kept_marker: Marker,
    facts: DatabaseFacts,
) -> None:
    """Rename `live` to `kept` and `incoming` to `live`: both or, on any error, neither.

    The incoming database gets owner, settings, grants, comment and limit of `facts` and accepts
    connections, whether or not they were read behind a fence; the kept one gets the marker and
    accepts none. `live_oid` is None where there
    is no live database, and `incoming` where nothing takes its place. Swapping back is the same
    with the two exchanged.

    `maintenance` is a session in a third database; the live one has been fenced, the incoming one
    is fenced here. Raises PrecheckRefused where a name leads to another OID, SessionsRemain where
    somebody holds one of the two, and StatementFailed where the server refuses.
    """
    if not fits(kept) or not fits(live):
        raise UsageError(f"`{kept}` or `{live}` is no name for a database: 1 to 63 bytes are")
    _refuse_others(maintenance, {live: live_oid, kept: None})
    if incoming is not None:
        _refuse_others(maintenance, {incoming: incoming_oid})
        fence(maintenance, incoming, patience=_PATIENCE)
    for name in filter(None, (live, incoming)):
        _refuse_prepared(maintenance, name)
    try:
        with maintenance.transaction():
            if live_oid is not None:
                _put_aside(maintenance, live, kept, kept_marker)
            if incoming is not None:
                _rename(maintenance, incoming, live)
                set_attributes(maintenance, live, replace(facts, allow_connections=True))
    except StatementFailed as error:
        if error.sqlstate != _OBJECT_IN_USE:
            raise
        raise _in_use(maintenance, live, incoming) from error


def _refuse_others(maintenance: Session, expected: dict[str, int | None]) -> None:
    for name, oid in expected.items():
        found = who_is(maintenance, name)
        if found != oid:
            raise PrecheckRefused(
                f"database `{name}` is {_described(found)}, and {_described(oid)} was expected: "
                "nothing was renamed",
                hint="alexandria run list",
            )


def _described(oid: int | None) -> str:
    return "none" if oid is None else f"the one with OID {oid}"


def _put_aside(maintenance: Session, live: str, kept: str, marker: Marker) -> None:
    _rename(maintenance, live, kept)
    name = quote_identifier(kept)
    maintenance.execute(f"COMMENT ON DATABASE {name} IS {quote_literal(marker.encode())}")
    maintenance.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")


def _rename(maintenance: Session, name: str, new_name: str) -> None:
    maintenance.execute(
        f"ALTER DATABASE {quote_identifier(name)} RENAME TO {quote_identifier(new_name)}"
    )


def _refuse_prepared(maintenance: Session, name: str) -> None:
    """Say it at once: the server waits five seconds for the transaction, and names none."""
    found = prepared_transactions(maintenance, name)
    if found:
        raise SessionsRemain(
            f"`{name}` cannot be renamed over its prepared transaction `{found[0].gid}`",
            hint="commit or roll back what is prepared, then: alexandria run resume",
        )


def _in_use(maintenance: Session, live: str, incoming: str | None) -> SessionsRemain:
    names = [name for name in (live, incoming) if name is not None]
    who = [str(found) for name in names for found in other_sessions(maintenance, name)]
    return SessionsRemain(
        f"`{live}` cannot be swapped while it is in use: {', '.join(who[:3]) or 'by a session'}",
        hint="end these sessions, then: alexandria run resume",
    )
