"""Markers: rows that tell one history from another."""

from collections.abc import Callable, Iterator

import pytest

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.exported_snapshot import exported_snapshot
from alexandria_backup.postgres.marker_rows import (
    create_markers,
    has_markers,
    sees_marker,
    write_marker,
)
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]


@pytest.fixture
def session(server: EmbeddedServer, new_database: NewDatabase) -> Iterator[Session]:
    with connect(Dsn.parse(new_database(server)), purpose="test") as session:
        yield session


def test_nothing_is_written_before_the_schema_is_there(session: Session) -> None:
    assert not has_markers(session)
    assert write_marker(session) is None
    assert not sees_marker(session, "x")


def test_making_the_schema_twice_equals_making_it_once(session: Session) -> None:
    create_markers(session)
    nonce = write_marker(session)
    create_markers(session)
    assert has_markers(session)
    assert nonce is not None
    assert sees_marker(session, nonce)
    assert not sees_marker(session, "another")


def test_a_snapshot_does_not_see_the_marker_that_follows_it(session: Session) -> None:
    create_markers(session)
    with connect(session.dsn, purpose="test") as leader:
        with exported_snapshot(leader):
            nonce = write_marker(session) or ""
            assert not sees_marker(leader, nonce)
        assert sees_marker(leader, nonce)


def test_a_role_that_may_not_write_gets_no_marker(session: Session) -> None:
    create_markers(session)
    session.execute("GRANT USAGE ON SCHEMA alexandria_backup TO pg_monitor")
    session.execute("SET ROLE pg_monitor")
    assert write_marker(session) is None


def test_old_markers_go_and_the_newest_thousand_stay(session: Session) -> None:
    create_markers(session)
    session.execute(
        "INSERT INTO alexandria_backup.markers SELECT i::text, now() - i * interval '1 hour' "
        "FROM generate_series(1, 1500) AS i"
    )
    write_marker(session)
    assert session.value("SELECT count(*) FROM alexandria_backup.markers") == 1001
    assert sees_marker(session, "999")
    assert not sees_marker(session, "1001")
