"""Large objects go aside and come back whole, in many transactions."""

from collections.abc import Iterator

import pytest
from in_place_support import kept_schemas, large_objects, make_large_objects, without_administrator
from site_support import Site

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.large_objects import (
    drop_objects,
    foreign_owner,
    objects_aside,
    objects_back,
    store_name,
)

RUN = "restore-20261125T120000Z-abcd"
STORE = store_name("abcd")


@pytest.fixture
def owned(site: Site) -> Site:
    without_administrator(site)
    make_large_objects(site)
    return site


@pytest.fixture
def session(owned: Site) -> Iterator[Session]:
    """A session of the role that owns the database."""
    dsn = Dsn.parse(owned.server.conninfo(owned.database, user=owned.role))
    with connect(dsn, purpose="test") as session:
        yield session


def test_they_come_back_as_they_were(owned: Site, session: Session) -> None:
    before = large_objects(owned)
    objects_aside(session, run=RUN, store=STORE)
    assert large_objects(owned) == {}
    assert kept_schemas(owned) == [STORE]
    objects_back(session, STORE)
    assert large_objects(owned) == before
    assert kept_schemas(owned) == []


def test_more_than_one_transaction_could_lock(owned: Site, session: Session) -> None:
    session.execute(
        "SELECT lo_from_bytea(10000 + i, i::text::bytea) FROM generate_series(1, 450) i"
    )
    before = large_objects(owned)
    objects_aside(session, run=RUN, store=STORE)
    assert large_objects(owned) == {}
    objects_back(session, STORE)
    assert large_objects(owned) == before


def test_what_was_begun_is_gone_on_with_either_way(owned: Site, session: Session) -> None:
    session.execute(
        "SELECT lo_from_bytea(10000 + i, i::text::bytea) FROM generate_series(1, 450) i"
    )
    owned.sql("SELECT lo_create(20000)")
    before = large_objects(owned)
    assert foreign_owner(session) == "postgres"
    with pytest.raises(StatementFailed):
        objects_aside(session, run=RUN, store=STORE)
    assert 0 < len(large_objects(owned)) < len(before)
    objects_back(session, STORE)
    assert large_objects(owned) == before
    owned.sql("SELECT lo_unlink(20000)")
    assert foreign_owner(session) is None
    objects_aside(session, run=RUN, store=STORE)
    assert large_objects(owned) == {}


def test_where_there_are_none_nothing_is_made(owned: Site, session: Session) -> None:
    drop_objects(session)
    assert large_objects(owned) == {}
    objects_aside(session, run=RUN, store=STORE)
    objects_back(session, STORE)
    assert kept_schemas(owned) == []
