"""What one database has besides its contents can be given to another."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.attributes import list_items, set_attributes
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal
from alexandria_backup.postgres.marker import Marker
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]


@pytest.fixture
def maintenance(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        yield opened


@pytest.fixture
def role(maintenance: Session) -> Iterator[str]:
    name = f'Röle "{secrets.token_hex(4)}"'
    maintenance.execute(f"create role {quote_identifier(name)}")
    yield name
    owned = maintenance.all(
        "select datname from pg_database d join pg_roles r on r.oid = datdba where rolname = %s",
        [name],
    )
    for (database,) in owned:
        maintenance.execute(f"alter database {quote_identifier(database)} owner to postgres")
    for (database,) in maintenance.all("select datname from pg_database where not datistemplate"):
        quoted = quote_identifier(database)
        maintenance.execute(f"revoke all on database {quoted} from {quote_identifier(name)}")
    maintenance.execute(f"drop role {quote_identifier(name)}")


def facts_of(session: Session, name: str) -> DatabaseFacts:
    facts = database_facts(session, name)
    assert facts is not None
    return facts


def described(facts: DatabaseFacts) -> DatabaseFacts:
    """Without what belongs to one database only."""
    return replace(
        facts, name="", oid=0, size_bytes=None, grants=tuple(sorted(facts.grants, key=repr))
    )


def test_everything_is_carried_over_and_back(
    server: EmbeddedServer, maintenance: Session, new_database: NewDatabase, role: str
) -> None:
    rich, plain = (
        Dsn.parse(new_database(server, name=f"{word} '100%s' {secrets.token_hex(4)}")).database
        for word in ("rich", "plain")
    )
    rich_name, plain_name, role_name = (quote_identifier(name) for name in (rich, plain, role))
    maintenance.execute(f"""
        alter database {rich_name} connection limit 7;
        comment on database {rich_name} is 'it''s \\ mine';
        alter database {rich_name} set search_path = "$user", 'a, b', 'c"d', public;
        alter database {rich_name} set temp_tablespaces = '';
        alter database {rich_name} set "my.Setting" = 'x=y \\ ''z''';
        alter database {rich_name} set log_statement = 'ddl';
        alter database {rich_name} set local_preload_libraries = '';
        alter role {role_name} in database {rich_name} set work_mem = '5MB';
        revoke connect on database {rich_name} from public;
        grant connect on database {rich_name} to {role_name} with grant option;
        alter database {rich_name} owner to {role_name};
        alter database {rich_name} allow_connections false;
        alter database {plain_name} set work_mem = '9MB';
        alter role {role_name} in database {plain_name} set work_mem = '8MB';
    """)
    before = facts_of(maintenance, plain)
    wanted = facts_of(maintenance, rich)
    set_attributes(maintenance, plain, wanted)
    assert described(facts_of(maintenance, plain)) == described(wanted)
    path = maintenance.value(
        "select c from pg_db_role_setting, unnest(setconfig) c "
        "where setdatabase = %s and c like 'search_path=%%'",
        [before.oid],
    )
    assert path == 'search_path="$user", "a, b", "c""d", public'
    set_attributes(maintenance, plain, before)
    assert described(facts_of(maintenance, plain)) == described(before)


@pytest.mark.parametrize("comment", ["the application's", None])
def test_a_marker_is_never_carried_over(
    server: EmbeddedServer, maintenance: Session, new_database: NewDatabase, comment: str | None
) -> None:
    """A snapshot of a kept database remembers its marker: a restore of it must not be droppable."""
    database = Dsn.parse(new_database(server)).database
    facts = facts_of(maintenance, database)
    marked = Marker(run="restore-1", role="kept", of="live", comment=comment).encode()
    quoted = quote_literal(marked)
    maintenance.execute(f"comment on database {quote_identifier(database)} is {quoted}")
    for _ in range(2):
        set_attributes(maintenance, database, replace(facts, comment=marked))
        assert facts_of(maintenance, database).comment == comment


def test_a_role_without_rights_changes_nothing_where_nothing_differs(
    server: EmbeddedServer, maintenance: Session, new_database: NewDatabase, role: str
) -> None:
    maintenance.execute(f"alter role {quote_identifier(role)} login")
    database = Dsn.parse(new_database(server)).database
    facts = facts_of(maintenance, database)
    with connect(Dsn.parse(server.conninfo(user=role)), purpose="test") as ordinary:
        set_attributes(ordinary, database, facts)
        with pytest.raises(StatementFailed) as caught:
            set_attributes(ordinary, database, replace(facts, comment="other"))
    assert caught.value.sqlstate == "42501"


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10)


@given(st.lists(NAMES, min_size=1))
def test_lists_of_names(names: list[str]) -> None:
    value = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    assert list(list_items(value)) == names
    assert list(list_items("a ,b,  c ")) == ["a", "b", "c"]


def test_a_list_that_is_none() -> None:
    with pytest.raises(StatementFailed):
        list(list_items('"a'))
