"""Everything a database has besides its contents is found, from another database too."""

import secrets
from collections.abc import Callable, Iterator

import pytest

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.database import (
    DatabaseFacts,
    Grant,
    Setting,
    database_facts,
    default_grants,
)
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]


@pytest.fixture
def maintenance(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        yield opened


def facts_of(maintenance: Session, name: str) -> DatabaseFacts:
    facts = database_facts(maintenance, name)
    assert facts is not None
    return facts


def test_a_plain_database(
    server: EmbeddedServer, maintenance: Session, new_database: NewDatabase
) -> None:
    name = Dsn.parse(new_database(server)).database
    facts = facts_of(maintenance, name)
    assert (facts.name, facts.owner, facts.encoding) == (name, "postgres", "UTF8")
    assert facts.oid == maintenance.value(f"select oid from pg_database where datname = '{name}'")
    assert facts.locale_provider == ("b" if server.major >= 17 else "c")
    assert facts.locale == ("C.UTF-8" if server.major >= 17 else None)
    assert facts.allow_connections
    assert not facts.is_template
    assert (facts.connection_limit, facts.comment, facts.settings) == (-1, None, ())
    assert facts.tablespace == "pg_default"
    assert facts.size_bytes
    assert facts.size_bytes > 1_000_000
    assert set(facts.grants) == set(default_grants("postgres"))


def test_no_such_database(maintenance: Session) -> None:
    assert database_facts(maintenance, "not there") is None


def test_a_database_with_everything(
    server: EmbeddedServer, maintenance: Session, new_database: NewDatabase
) -> None:
    role = f"Röle {secrets.token_hex(4)}"
    quoted_role = quote_identifier(role)
    name = Dsn.parse(new_database(server, name=f'a "b" ü {secrets.token_hex(4)}')).database
    database = quote_identifier(name)
    maintenance.execute(f"create role {quoted_role}")
    try:
        maintenance.execute(f"""
            alter database {database} connection limit 7;
            comment on database {database} is 'it''s = mine';
            alter database {database} set search_path = "$user", 'a, b', public;
            alter database {database} set "my.setting" = 'x=y';
            alter role {quoted_role} in database {database} set work_mem = '5MB';
            revoke connect on database {database} from public;
            grant connect on database {database} to {quoted_role} with grant option;
            alter database {database} allow_connections false;
        """)
        facts = facts_of(maintenance, name)
        assert facts.connection_limit == 7
        assert facts.comment == "it's = mine"
        assert not facts.allow_connections
        assert facts.settings == (
            Setting(role=None, name="search_path", value='"$user", "a, b", public'),
            Setting(role=None, name="my.setting", value="x=y"),
            Setting(role=role, name="work_mem", value="5MB"),
        )
        assert Grant(grantee=role, privilege="CONNECT", grantable=True) in facts.grants
        assert Grant(grantee=None, privilege="CONNECT") not in facts.grants
    finally:
        maintenance.execute(f"""
            alter role {quoted_role} in database {database} reset all;
            revoke all on database {database} from {quoted_role};
            drop role {quoted_role};
        """)


def test_icu(debian_server: EmbeddedServer, new_database: NewDatabase) -> None:
    with connect(Dsn.parse(debian_server.conninfo()), purpose="test") as maintenance:
        maintenance.execute(
            "create database icu template template0 locale_provider icu icu_locale 'de'"
        )
        try:
            facts = facts_of(maintenance, "icu")
        finally:
            maintenance.execute("drop database icu")
    assert (facts.locale_provider, facts.locale) == ("i", "de")
    assert facts.collation_version
