"""What stands in a database is found, with odd names too, and what is broken is named."""

from collections.abc import Callable, Iterator

import pytest

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.catalog import (
    EventTriggerFacts,
    Unreadable,
    available_extensions,
    event_triggers,
    installed_extensions,
    invalid_indexes,
    large_object_count,
    publications,
    row_count,
    sequences_behind,
    tables,
    unreadable_tables,
    unvalidated_constraints,
)
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret


@pytest.fixture
def dsn(server: EmbeddedServer, new_database: Callable[..., Secret]) -> Dsn:
    return Dsn.parse(new_database(server))


@pytest.fixture
def session(dsn: Dsn) -> Iterator[Session]:
    with connect(dsn, purpose="test") as opened:
        yield opened


def test_tables_of_every_kind(session: Session) -> None:
    session.execute("""
        create schema "My schema";
        create table "My schema"."It's 100%" (a int);
        create unlogged table public.u (a int);
        create table public.p (a int) partition by range (a);
        create table public.p1 partition of public.p for values from (0) to (10);
        create materialized view public.m as select 1 as a;
        create view public.v as select 1 as a;
        create temporary table t (a int);
        insert into "My schema"."It's 100%" select generate_series(1, 1000);
        analyze "My schema"."It's 100%";
    """)
    found = {(table.schema, table.name): table for table in tables(session)}
    assert list(found) == [
        ("My schema", "It's 100%"),
        *(("public", name) for name in ("m", "p", "p1", "u")),
    ]
    ordinary = found["My schema", "It's 100%"]
    assert (ordinary.kind, ordinary.persistence, ordinary.owner) == ("r", "p", "postgres")
    assert ordinary.estimated_rows == 1000
    assert ordinary.total_bytes >= 8192
    assert ordinary.extension is None
    assert found["public", "u"].persistence == "u"
    assert found["public", "u"].estimated_rows is None
    assert (found["public", "p"].kind, found["public", "p"].total_bytes) == ("p", 0)
    assert found["public", "p1"].partition
    assert found["public", "m"].kind == "m"


def test_rows_are_counted_as_they_are_dumped(session: Session) -> None:
    session.execute("""
        create table public."a ""%s"" b" (a int);
        insert into public."a ""%s"" b" values (1), (2);
        create table public.parent (a int);
        create table public.child () inherits (public.parent);
        insert into public.parent values (1);
        insert into public.child values (2), (3);
        create table public.p (a int) partition by range (a);
        create table public.p1 partition of public.p for values from (0) to (10);
        insert into public.p values (1), (2), (3), (4);
        create materialized view public.m as select 1 as a;
    """)
    names = ('a "%s" b', "parent", "child", "p", "p1", "m")
    assert [row_count(session, "public", name) for name in names] == [2, 1, 2, 4, 4, 1]
    with pytest.raises(StatementFailed):
        row_count(session, "public", "not there")


def test_what_a_role_cannot_read(server: EmbeddedServer, dsn: Dsn, session: Session) -> None:
    role = f"reader_{dsn.database}"
    session.execute(f"""
        create role {role} login;
        create table public.open (a int);
        grant select on public.open to {role};
        create table public.closed (id int generated always as identity);
        create schema hidden;
        create table hidden.t (a int);
        create table public.guarded (a int);
        grant select on public.guarded to {role};
        alter table public.guarded enable row level security;
    """)
    try:
        with connect(Dsn.parse(server.conninfo(dsn.database, user=role)), purpose="test") as reader:
            assert unreadable_tables(reader) == (
                Unreadable(schema="hidden", name="t", reason="no USAGE on its schema"),
                Unreadable(schema="public", name="closed", reason="no SELECT"),
                Unreadable(schema="public", name="closed_id_seq", reason="no SELECT"),
                Unreadable(
                    schema="public",
                    name="guarded",
                    reason="its row security applies to this role",
                ),
            )
        assert unreadable_tables(session) == ()
    finally:
        session.execute(f"drop owned by {role}; drop role {role}")


def test_extensions(session: Session) -> None:
    assert set(installed_extensions(session)) == {"plpgsql"}
    available = available_extensions(session)
    assert available["plpgsql"] == (installed_extensions(session)["plpgsql"],)
    assert "vector" in available
    session.execute("create extension vector schema public")
    assert "vector" in installed_extensions(session)


def test_tables_of_extensions_are_marked(
    debian_server: EmbeddedServer, new_database: Callable[..., Secret]
) -> None:
    with connect(Dsn.parse(new_database(debian_server)), purpose="test") as session:
        session.execute("create extension pg_buffercache schema public")
        session.execute("create table public.own (a int)")
        session.execute("create table public.theirs (a int)")
        session.execute("alter extension pg_buffercache add table public.theirs")
        marks = {table.name: table.extension for table in tables(session)}
    assert marks == {"own": None, "theirs": "pg_buffercache"}


def test_publications_event_triggers_and_large_objects(session: Session) -> None:
    session.execute("""
        create publication "Pub 1" for all tables;
        create function public.f() returns event_trigger language plpgsql as 'begin end';
        create event trigger one on ddl_command_start execute function public.f();
        create event trigger two on sql_drop execute function public.f();
        alter event trigger two disable;
        select lo_create(0), lo_create(4000000000);
    """)
    assert publications(session) == ("Pub 1",)
    assert event_triggers(session) == (
        EventTriggerFacts(name="one", event="ddl_command_start", enabled=True),
        EventTriggerFacts(name="two", event="sql_drop", enabled=False),
    )
    assert large_object_count(session) == 2


def test_invalid_indexes(session: Session) -> None:
    session.execute("create table public.t (a int); insert into public.t values (1), (1)")
    session.execute("create index good on public.t (a)")
    assert invalid_indexes(session) == ()
    with pytest.raises(StatementFailed):
        session.execute('create unique index concurrently "Bäd" on public.t (a)')
    assert invalid_indexes(session) == ("public.Bäd",)


def test_unvalidated_constraints(session: Session) -> None:
    session.execute("create table public.t (a int, constraint good check (a > 0))")
    assert unvalidated_constraints(session) == ()
    session.execute("alter table public.t add constraint late check (a > 1) not valid")
    assert unvalidated_constraints(session) == ("public.t late",)
    if session.server_version >= 180000:
        session.execute("alter table public.t add constraint never check (a > 2) not enforced")
        assert unvalidated_constraints(session) == ("public.t late",)


def test_sequences_behind(session: Session) -> None:
    session.execute("""
        create domain public.number as int;
        create table public."100%s" (id serial, "I d" int generated by default as identity,
                                     text_id text, small smallserial, dom public.number);
        create sequence public.down increment -1 owned by public."100%s".small;
        create sequence public.for_domain owned by public."100%s".dom;
        create sequence public.for_text owned by public."100%s".text_id;
        create sequence public.around maxvalue 3 cycle owned by public."100%s".id;
        create table public.empty (id serial);
        insert into public."100%s" (text_id, dom) values ('x', 5), ('y', 1);
    """)
    # Never used, and the column has 5 already; the one that descends starts at -1, below all.
    behind = sequences_behind(session)
    assert [(found.name, found.next_value, found.furthest) for found in behind] == [
        ("for_domain", 1, 5)
    ]
    assert behind[0].column == "public.100%s.dom"
    session.execute("select setval('public.for_domain', 5)")
    assert sequences_behind(session) == ()
    session.execute("select setval('public.for_domain', 5, false)")
    assert [found.next_value for found in sequences_behind(session)] == [5]
    session.execute("select setval('public.for_domain', 6)")
    session.execute('insert into public."100%s" (id, "I d", small) values (9, 8, -4)')
    behind = sequences_behind(session)
    assert [(found.name, found.next_value, found.furthest) for found in behind] == [
        ("100%s_I d_seq", 3, 8),
        ("100%s_id_seq", 3, 9),
        ("down", -1, -4),
    ]
