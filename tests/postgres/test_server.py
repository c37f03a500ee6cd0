"""What is said of a server and of a role is so."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from site_support import new_role

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.server import (
    is_english,
    list_databases,
    messages_language,
    role_facts,
    roles,
    server_facts,
)
from alexandria_backup.secret import Secret


@pytest.fixture
def session(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        yield opened


@pytest.fixture
def role(session: Session) -> Iterator[str]:
    name = 'An "odd" röle'
    quoted = '"An ""odd"" röle"'
    session.execute(f"create role {quoted} login createdb")
    yield name
    session.execute(f"drop role {quoted}")


def as_role(server: EmbeddedServer, name: str) -> Dsn:
    return Dsn.parse(server.conninfo(user=name))


def test_server(server: EmbeddedServer, session: Session) -> None:
    facts = server_facts(session)
    assert facts.major == server.major
    assert facts.version_num // 10_000 == server.major
    assert facts.version.startswith(f"{server.major}.")
    assert not facts.in_recovery
    assert facts.system_identifier
    assert not facts.tls
    assert facts.local
    assert Path(facts.data_directory or "") == server.data_dir
    assert facts.now.tzinfo is UTC
    assert abs(facts.now - datetime.now(UTC)) < timedelta(minutes=1)


def test_superuser(session: Session) -> None:
    facts = role_facts(session)
    assert facts.name == "postgres"
    assert facts.superuser
    assert facts.create_database


def test_an_ordinary_role(server: EmbeddedServer, session: Session, role: str) -> None:
    with connect(as_role(server, role), purpose="test") as own:
        facts = role_facts(own)
        assert facts.name == role
        assert not facts.superuser
        assert facts.create_database
        assert facts.member_of == ()
        # What it may not know is None, and no error.
        assert server_facts(own).data_directory is None
    session.execute('grant pg_read_all_data to "An ""odd"" röle"')
    with connect(as_role(server, role), purpose="test") as own:
        assert role_facts(own).member_of == ("pg_read_all_data",)


def test_names(
    server: EmbeddedServer, session: Session, role: str, new_database: Callable[..., Secret]
) -> None:
    name = Dsn.parse(new_database(server, name='DB "ü" 1')).database
    assert {name, "postgres", "template0"} <= set(list_databases(session))
    assert {role, "postgres"} <= roles(session)


@pytest.mark.parametrize("locale", ["", "C", "C.UTF-8", "POSIX", "en_US.utf8", "English_UK"])
def test_these_locales_are_english(locale: str) -> None:
    assert is_english(locale)


@pytest.mark.parametrize("locale", ["de_DE.utf8", "cs_CZ", "ca_ES", "ja_JP.eucjp", "Czech_Czechia"])
def test_these_locales_are_not(locale: str) -> None:
    assert not is_english(locale)


@pytest.mark.parametrize(("options", "spoken"), [("SUPERUSER", "C"), ("", "POSIX")])
def test_a_session_speaks_english_where_its_role_may_choose(
    server_any: EmbeddedServer, options: str, spoken: str
) -> None:
    """`POSIX` stands for a language, of which none need be installed."""
    role = new_role(server_any, options)
    with connect(Dsn.parse(server_any.conninfo()), purpose="test") as session:
        session.execute(f"ALTER ROLE {role} SET lc_messages = 'POSIX'")
    dsn = Dsn.parse(server_any.conninfo(user=role))
    with connect(dsn, purpose="test") as session:
        assert session.value("SHOW lc_messages") == spoken
        assert messages_language(session) is None
