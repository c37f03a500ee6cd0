"""What killed drills have left on a given server, and who may not, or need not, drop it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import psycopg
import pytest
from drill_support import eventually
from psycopg import sql
from site_support import new_role

from alexandria_backup.events import Event, Note, Warned
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.server import list_databases
from alexandria_backup.postgres.shadow import Marker, create_shadow
from alexandria_backup.runbooks.drill_server import database_of, drop_left_over
from alexandria_backup.secret import Secret

_RUN = "drill-20200101T000000Z-aaaa"
_LEFT = database_of(_RUN)
_UNFINISHED = f"alexandria_new_{_RUN}"
_WAIT_FOR_IT = (
    "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.objid "
    "WHERE d.datname = %s AND l.classid = 'pg_database'::regclass AND NOT l.granted"
)

Administrator = psycopg.Connection[tuple[object, ...]]


def mark(administrator: Administrator, name: str) -> None:
    comment = Marker(run=_RUN, role="shadow", of=name).encode()
    administrator.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
    )


def clean(conninfo: Secret) -> list[Event]:
    """Drop what is left as a drill does, and return what it told."""
    told: list[Event] = []
    with connect(Dsn.parse(conninfo), purpose="test") as session:
        drop_left_over(session, told.append)
    return told


@pytest.mark.parametrize("name", [_LEFT, _UNFINISHED], ids=["made", "unfinished"])
def test_the_database_of_another_role_is_passed_over_and_named(
    server_any: EmbeddedServer, new_database: Callable[..., Secret], name: str
) -> None:
    new_database(server_any, name=name)
    administrator = server_any.conninfo("postgres")
    with psycopg.connect(administrator.reveal(), autocommit=True) as connection:
        mark(connection, name)
    role = new_role(server_any)
    try:
        (warned,) = clean(server_any.conninfo("postgres", user=role))
    finally:
        with psycopg.connect(administrator.reveal(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert isinstance(warned, Warned)
    assert f"database `{name}` of a killed drill is not dropped" in warned.message
    assert "must be owner" in warned.message
    (noted,) = clean(administrator)
    assert isinstance(noted, Note)
    assert f"was dropped: database `{name}`" in noted.message


@pytest.mark.parametrize("name", [_LEFT, _UNFINISHED], ids=["made", "unfinished"])
def test_what_merely_has_the_name_stays_and_is_named(
    server: EmbeddedServer, new_database: Callable[..., Secret], name: str
) -> None:
    new_database(server, name=name)
    for _ in range(2):
        told = clean(server.conninfo("postgres"))
        if name == _LEFT:
            # It would have appeared under this name together with its mark: it is no drill's.
            assert told == []
            continue
        (warned,) = told
        assert isinstance(warned, Warned)
        assert f"database `{name}` has the name of a drill's, and not its mark" in warned.message


def test_what_merely_has_the_name_stays_beside_what_is_dropped(
    server: EmbeddedServer, new_database: Callable[..., Secret]
) -> None:
    for name in (_LEFT, _UNFINISHED):
        new_database(server, name=name)
    with psycopg.connect(server.conninfo("postgres").reveal(), autocommit=True) as connection:
        mark(connection, _LEFT)
    assert {type(event) for event in clean(server.conninfo("postgres"))} == {Note, Warned}
    (warned,) = clean(server.conninfo("postgres"))
    assert _UNFINISHED in str(warned)


def test_one_that_was_killed_before_it_could_comment_is_dropped(server_any: EmbeddedServer) -> None:
    administrator = Dsn.parse(server_any.conninfo("postgres"))
    with connect(administrator, purpose="test") as session:
        like = database_facts(session, "postgres")
        assert like is not None
        ours = Marker(run=_RUN, role="shadow", of=_LEFT)
        with (
            patch.object(Session, "transaction", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            create_shadow(session, _LEFT, like=like, marker=ours)
        assert _UNFINISHED in list_databases(session)
    (noted,) = clean(server_any.conninfo("postgres"))
    assert isinstance(noted, Note)
    assert f"was dropped: database `{_UNFINISHED}`" in noted.message


def test_what_two_drills_drop_at_once_stops_neither(
    server: EmbeddedServer, new_database: Callable[..., Secret]
) -> None:
    new_database(server, name=_LEFT)
    administrator = server.conninfo("postgres")
    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(administrator.reveal()) as holder,
        psycopg.connect(administrator.reveal(), autocommit=True) as watcher,
    ):
        mark(holder, _LEFT)
        holder.commit()
        # Whoever writes the comment holds the database until the transaction ends.
        mark(holder, _LEFT)
        both = [pool.submit(clean, administrator) for _ in range(2)]
        eventually(lambda: watcher.execute(_WAIT_FOR_IT, (_LEFT,)).fetchone() == (2,))
        holder.commit()
        told = [event for one in both for event in one.result()]
    assert {type(event) for event in told} == {Note, Warned}
    (warned,) = [event for event in told if isinstance(event, Warned)]
    assert f"`{_LEFT}`" in warned.message
