"""Behind a fence there is nobody, and nobody comes in."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from alexandria_backup.errors import DatabaseMissing, DatabaseUnreachable, RightsMissing
from alexandria_backup.postgres.activity import other_sessions
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.fence import fence, lift
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]


@pytest.fixture
def dsn(server: EmbeddedServer, new_database: NewDatabase) -> Dsn:
    return Dsn.parse(new_database(server, name=f'the "live" db ü {id(server)}'))


@pytest.fixture
def maintenance(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        yield opened


def test_fence_and_lift(dsn: Dsn, maintenance: Session) -> None:
    with connect(dsn, purpose="idle"), connect(dsn, purpose="busy") as busy:
        busy.execute("begin; create table public.t ()")
        for _ in range(2):
            fence(maintenance, dsn.database, patience=30)
            assert other_sessions(maintenance, dsn.database) == ()
            with pytest.raises(DatabaseUnreachable, match="fenced"):
                connect(dsn, purpose="late")
    for _ in range(2):
        lift(maintenance, dsn.database)
        with connect(dsn, purpose="again") as again:
            assert again.value("select 1") == 1


def test_clients_in_the_middle_of_a_transaction(dsn: Dsn, maintenance: Session) -> None:
    """One is idle in it, one is at work: both lose what they have written."""
    conninfo = dsn.conninfo().reveal()
    ended: list[str | None] = []

    def work(connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("select pg_sleep(600)")
        except psycopg.Error as error:
            ended.append(error.sqlstate)

    with closing(psycopg.connect(conninfo)) as waits, closing(psycopg.connect(conninfo)) as works:
        waits.execute("create table public.t (a int)")
        waits.commit()
        works.execute("insert into public.t values (1)")
        waits.execute("insert into public.t values (2)")
        thread = threading.Thread(target=work, args=(works,))
        thread.start()
        while {found.state for found in other_sessions(maintenance, dsn.database)} != {
            "active",
            "idle in transaction",
        }:
            time.sleep(0.01)
        fence(maintenance, dsn.database, patience=30)
        assert other_sessions(maintenance, dsn.database) == ()
        thread.join()
        with pytest.raises(psycopg.OperationalError):
            waits.execute("select 1")
    assert ended == ["57P01"]
    lift(maintenance, dsn.database)
    with connect(dsn, purpose="look") as session:
        assert session.value("select count(*) from public.t") == 0


def test_walsenders_go_too(dsn: Dsn, maintenance: Session) -> None:
    with psycopg.connect(f"{dsn.conninfo().reveal()} replication=database", autocommit=True):
        fence(maintenance, dsn.database, patience=30)
        assert other_sessions(maintenance, dsn.database) == ()


def test_clients_that_try_again_and_again(dsn: Dsn, maintenance: Session) -> None:
    stop = threading.Event()
    connected: list[int] = []

    def insist() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(dsn.conninfo().reveal(), autocommit=True) as connection:
                    connected.append(connection.info.backend_pid)
                    connection.execute("select pg_sleep(60)")
            except psycopg.Error:
                continue

    clients = [threading.Thread(target=insist) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        while len(connected) < 8:
            for found in other_sessions(maintenance, dsn.database):
                maintenance.execute("select pg_terminate_backend(%s)", [found.pid])
        fence(maintenance, dsn.database, patience=30)
        assert other_sessions(maintenance, dsn.database) == ()
    finally:
        stop.set()
        for client in clients:
            client.join()


def test_a_session_that_may_not_be_ended_is_named(
    server: EmbeddedServer, dsn: Dsn, maintenance: Session
) -> None:
    role = f"owner_{maintenance.pid}"
    name = '"' + dsn.database.replace('"', '""') + '"'
    maintenance.execute(f"create role {role} login")
    maintenance.execute(f"alter database {name} owner to {role}")
    try:
        with (
            connect(dsn, purpose="superuser") as superuser,
            connect(Dsn.parse(server.conninfo(user=role)), purpose="owner") as owner,
            pytest.raises(RightsMissing) as caught,
        ):
            fence(owner, dsn.database, patience=0.1)
        assert f"process {superuser.pid} (role `postgres`" in str(caught.value)
        assert "alexandria-backup superuser" in str(caught.value)
    finally:
        maintenance.execute(f"alter database {name} owner to postgres")
        maintenance.execute(f"drop role {role}")


def test_no_such_database(maintenance: Session) -> None:
    with pytest.raises(DatabaseMissing):
        fence(maintenance, "not there", patience=1)
    with pytest.raises(DatabaseMissing):
        lift(maintenance, "not there")
