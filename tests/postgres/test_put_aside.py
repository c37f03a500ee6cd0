"""All that is in a database goes aside and comes back, by a role that owns it and no more."""

from collections.abc import Callable, Iterator

import pytest
from in_place_support import everything, kept_schemas, without_administrator
from site_support import Site

from alexandria_backup.postgres.aside import contents, kept_aside
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.put_aside import drop_aside, exchange, make_public, put_aside

RUN = "restore-20261125T120000Z-abcd"


@pytest.fixture
def owned(new_site: Callable[..., Site], server: EmbeddedServer) -> Site:
    return without_administrator(new_site(server))


@pytest.fixture
def session(owned: Site) -> Iterator[Session]:
    """A session of the role that owns the database."""
    dsn = Dsn.parse(owned.server.conninfo(owned.database, user=owned.role))
    with connect(dsn, purpose="test") as session:
        yield session


def put_all_aside(session: Session, *staying: str) -> None:
    with session.transaction():
        put_aside(session, run=RUN, role="kept", suffix="abcd", staying=staying)


def bring_all_back(session: Session) -> None:
    with session.transaction():
        exchange(session, kept_aside(session, RUN), run=RUN, role="shadow", suffix="abcd_dropped")
    drop_aside(session, run=RUN, role="shadow")


def test_a_schema_is_renamed_with_all_that_is_in_it(owned: Site, session: Session) -> None:
    session.execute("CREATE SCHEMA shop")
    session.execute(everything("shop"))
    before, rows = owned.schema_text(), owned.fingerprint()
    put_all_aside(session)
    assert owned.fingerprint() == {}
    make_public(session)
    session.execute("CREATE TABLE public.customer (other int)")
    bring_all_back(session)
    assert owned.schema_text() == before
    assert owned.fingerprint() == rows
    assert kept_schemas(owned) == []


def test_a_schema_that_stays_is_emptied(owned: Site, session: Session) -> None:
    owned.sql("CREATE EXTENSION vector")
    session.execute("GRANT CREATE ON SCHEMA public TO pg_monitor")
    session.execute("COMMENT ON SCHEMA public IS 'mine'")
    session.execute(everything("public", ranges=False))
    session.execute("CREATE TABLE public.places (at public.vector(2))")
    session.execute("CREATE MATERIALIZED VIEW public.seen AS SELECT 1 AS one")
    session.execute("CREATE PROCEDURE public.see(public.seen) LANGUAGE sql AS ''")
    before, rows = owned.schema_text(), owned.fingerprint()
    put_all_aside(session, "public")
    assert contents(session, "public") == ()
    session.execute("CREATE TABLE public.customer (at public.vector(3))")
    bring_all_back(session)
    assert owned.schema_text() == before
    assert owned.fingerprint() == rows


def test_what_has_a_name_and_no_schema_is_renamed(owned: Site, session: Session) -> None:
    session.execute("CREATE PUBLICATION told FOR TABLE public.customer")
    session.execute("COMMENT ON PUBLICATION told IS 'to the warehouse'")
    before = owned.schema_text()
    put_all_aside(session)
    make_public(session)
    session.execute("CREATE TABLE public.customer (a int)")
    session.execute("CREATE PUBLICATION told FOR TABLE public.customer")
    bring_all_back(session)
    assert owned.schema_text() == before


def test_default_privileges_do_not_touch_what_comes_in(owned: Site, session: Session) -> None:
    owned.sql("CREATE EXTENSION vector")
    session.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor")
    session.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC")
    session.execute(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO pg_monitor"
    )
    before = owned.schema_text()
    put_all_aside(session, "public")
    session.execute("CREATE TABLE public.customer (a serial)")
    granted = "SELECT relacl IS NULL FROM pg_class WHERE oid = %s::regclass"
    assert session.value(granted, ["public.customer"])
    assert session.value(granted, ["public.customer_a_seq"])
    session.execute("ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO PUBLIC")
    bring_all_back(session)
    assert owned.schema_text() == before
    assert kept_schemas(owned) == []


def test_names_of_63_bytes_stay_apart(owned: Site, session: Session) -> None:
    long = "s" * 62
    for letter in "ab":
        session.execute(
            f"CREATE SCHEMA {long}{letter}; CREATE TABLE {long}{letter}.{letter} (a int)"
        )
    before = owned.schema_text()
    put_all_aside(session)
    assert len(kept_schemas(owned)) == 3
    assert all(len(name) <= 63 and "_alexandria_kept_abcd" in name for name in kept_schemas(owned))
    make_public(session)
    bring_all_back(session)
    assert owned.schema_text() == before


def test_a_refusal_in_the_middle_changes_nothing(owned: Site, session: Session) -> None:
    session.execute("CREATE SCHEMA zoo")
    owned.sql("CREATE SCHEMA another")
    before = owned.schema_text()
    with pytest.raises(Exception, match="must be owner of schema another"):
        put_all_aside(session)
    assert owned.schema_text() == before
    assert kept_schemas(owned) == []
