"""Who else is bound to a database is seen from another one."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from alexandria_backup.postgres.activity import (
    other_sessions,
    prepared_transactions,
    replication_slots,
    subscriptions,
    terminate,
)
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret


@pytest.fixture
def dsn(server: EmbeddedServer, new_database: Callable[..., Secret]) -> Dsn:
    return Dsn.parse(new_database(server))


@pytest.fixture
def maintenance(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        yield opened


def test_sessions(server: EmbeddedServer, dsn: Dsn, maintenance: Session) -> None:
    assert other_sessions(maintenance, dsn.database) == ()
    with connect(dsn, purpose="one") as one:
        (found,) = other_sessions(maintenance, dsn.database)
        assert found.pid == one.pid
        assert (found.user, found.application_name) == ("postgres", "alexandria-backup one")
        assert (found.client, found.state, found.backend_type) == (
            "local",
            "idle",
            "client backend",
        )
        assert found.since is not None
        assert found.may_terminate
        assert "`alexandria-backup one`" in str(found)
        assert terminate(maintenance, one.pid)
    assert not terminate(maintenance, 2**31 - 1)


def test_a_walsender_is_a_session(dsn: Dsn, maintenance: Session) -> None:
    with psycopg.connect(f"{dsn.conninfo().reveal()} replication=database", autocommit=True):
        (found,) = other_sessions(maintenance, dsn.database)
        assert found.backend_type == "walsender"


def test_what_an_ordinary_role_may_end(
    server: EmbeddedServer, dsn: Dsn, maintenance: Session
) -> None:
    role = f"role_{dsn.database}"
    maintenance.execute(f"create role {role} login")
    try:
        own_dsn = Dsn.parse(server.conninfo(dsn.database, user=role))
        with (
            connect(own_dsn, purpose="asks") as asking,
            connect(own_dsn, purpose="same role") as same,
            connect(dsn, purpose="superuser") as superuser,
        ):
            may = {found.pid: found.may_terminate for found in other_sessions(asking, dsn.database)}
        assert may == {same.pid: True, superuser.pid: False}
    finally:
        maintenance.execute(f"drop role {role}")


def test_prepared_transactions(dsn: Dsn, maintenance: Session) -> None:
    with connect(dsn, purpose="test") as session:
        session.execute("begin; create table public.t (); prepare transaction 'it''s one'")
        try:
            (found,) = prepared_transactions(maintenance, dsn.database)
            assert (found.gid, found.owner) == ("it's one", "postgres")
        finally:
            session.execute("rollback prepared 'it''s one'")
    assert prepared_transactions(maintenance, dsn.database) == ()


def test_slots_and_subscriptions(dsn: Dsn, maintenance: Session) -> None:
    with connect(dsn, purpose="test") as session:
        slot = f"slot_{session.pid}"
        session.execute(f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        session.execute(
            'create subscription "Süb" connection $$host=/nowhere password=s3cret$$ '
            "publication p with (connect = false)"
        )
        try:
            (found,) = replication_slots(maintenance, dsn.database)
            assert (found.name, found.plugin, found.active) == (slot, "pgoutput", False)
            (subscription,) = subscriptions(maintenance, dsn.database)
            assert (subscription.name, subscription.enabled) == ("Süb", False)
            assert "s3cret" not in repr(subscription)
        finally:
            session.execute('alter subscription "Süb" set (slot_name = none)')
            session.execute('drop subscription "Süb"')
            session.execute(f"select pg_drop_replication_slot('{slot}')")
