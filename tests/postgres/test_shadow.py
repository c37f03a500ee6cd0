"""Shadows are made like their target, marked as a run's, and dropped only by it."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.errors import (
    LockedByAnotherRun,
    PrecheckRefused,
    StatementFailed,
    UsageError,
)
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.database import DatabaseFacts, Grant, database_facts
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.identifiers import fits, quote_identifier
from alexandria_backup.postgres.marker import Marker
from alexandria_backup.postgres.server import list_databases
from alexandria_backup.postgres.shadow import (
    create_shadow,
    discard_unfinished,
    drop_database,
    is_reserved,
    kept_name,
    read_marker,
    shadow_name,
)
from alexandria_backup.postgres.swap import who_is
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]


@pytest.fixture
def maintenance(server: EmbeddedServer) -> Iterator[Session]:
    with connect(Dsn.parse(server.conninfo()), purpose="test") as opened:
        yield opened


@pytest.fixture
def run() -> str:
    return f"restore-{secrets.token_hex(4)}"


@pytest.fixture
def shadow(maintenance: Session, run: str) -> Iterator[str]:
    """A name for a shadow; what has it is dropped afterwards."""
    name = f'shädow "of" {run}'
    yield name
    maintenance.execute(f"drop database if exists {quote_identifier(name)} with (force)")


def marker(run: str, of: str = "live") -> Marker:
    return Marker(run=run, role="shadow", of=of)


def facts_of(session: Session, name: str) -> DatabaseFacts:
    facts = database_facts(session, name)
    assert facts is not None
    return facts


def make(maintenance: Session, shadow: str, run: str) -> int:
    like = facts_of(maintenance, "postgres")
    create_shadow(maintenance, shadow, like=like, marker=marker(run))
    oid = who_is(maintenance, shadow)
    assert oid is not None
    return oid


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=63))
def test_names_fit(database: str) -> None:
    assert fits(shadow_name(database))
    assert fits(kept_name(database, "k3x9"))
    assert len({database, shadow_name(database), kept_name(database, "k3x9")}) == 3


def test_a_shadow_is_like_its_target(
    server: EmbeddedServer, maintenance: Session, new_database: NewDatabase, shadow: str, run: str
) -> None:
    role = f"owner {run}"
    maintenance.execute(f"create role {quote_identifier(role)} login")
    try:
        live = Dsn.parse(new_database(server, owner=role)).database
        maintenance.execute(f'revoke connect, temporary on database "{live}" from public')
        like = facts_of(maintenance, live)
        create_shadow(maintenance, shadow, like=like, marker=marker(run, live))
        made = facts_of(maintenance, shadow)
        for name in ("owner", "encoding", "locale_provider", "collate", "ctype", "locale"):
            assert getattr(made, name) == getattr(like, name)
        assert made.connection_limit == -1
        assert set(made.grants) == set(like.grants)
        found = read_marker(maintenance, shadow)
        assert found is not None
        assert (found.run, found.role, found.of) == (run, "shadow", live)
        maintenance.execute(f"drop database {quote_identifier(shadow)}")
        maintenance.execute(f'alter database "{live}" owner to postgres')
    finally:
        maintenance.execute(f"drop role {quote_identifier(role)}")


@pytest.mark.parametrize(
    "options",
    [
        "encoding 'LATIN1' locale 'C'",
        "locale_provider icu icu_locale 'de-u-co-phonebk' locale 'C'",
        "encoding 'SQL_ASCII' locale 'C'",
    ],
)
def test_a_shadow_of_another_encoding_and_provider(
    debian_server: EmbeddedServer, options: str, run: str
) -> None:
    with connect(Dsn.parse(debian_server.conninfo()), purpose="test") as maintenance:
        maintenance.execute(f"create database odd template template0 {options}")
        try:
            like = facts_of(maintenance, "odd")
            create_shadow(maintenance, "odd shadow", like=like, marker=marker(run, "odd"))
            made = facts_of(maintenance, "odd shadow")
            for name in ("encoding", "locale_provider", "collate", "ctype", "locale"):
                assert getattr(made, name) == getattr(like, name)
        finally:
            maintenance.execute("drop database if exists odd")
            maintenance.execute('drop database if exists "odd shadow"')


def test_the_name_is_the_lock(maintenance: Session, shadow: str, run: str) -> None:
    make(maintenance, shadow, run)
    with pytest.raises(LockedByAnotherRun) as caught:
        make(maintenance, shadow, "another-run")
    assert run in str(caught.value)
    assert f"alexandria run abort {run}" in (caught.value.hint or "")
    assert caught.value.exit_code == 22


def test_a_strangers_database_is_a_lock_too(maintenance: Session, shadow: str, run: str) -> None:
    maintenance.execute(f"create database {quote_identifier(shadow)}")
    with pytest.raises(LockedByAnotherRun, match="no run of ours"):
        make(maintenance, shadow, run)


def test_what_a_crash_left_behind_is_cleared(maintenance: Session, shadow: str, run: str) -> None:
    maintenance.execute(f'create database "alexandria_new_{run}"')
    make(maintenance, shadow, run)
    assert f"alexandria_new_{run}" not in list_databases(maintenance)
    maintenance.execute(f'create database "alexandria_new_{run}"')
    discard_unfinished(maintenance, run)
    discard_unfinished(maintenance, run)
    assert f"alexandria_new_{run}" not in list_databases(maintenance)


def test_a_failure_leaves_nothing(maintenance: Session, shadow: str, run: str) -> None:
    nobody = Grant(grantee="no such role", privilege="CONNECT")
    like = replace(facts_of(maintenance, "postgres"), grants=(nobody,))
    before = [name for name in list_databases(maintenance) if run in name]
    with pytest.raises(StatementFailed):
        create_shadow(maintenance, shadow, like=like, marker=marker(run))
    assert [name for name in list_databases(maintenance) if run in name] == before


def test_a_name_that_the_server_would_cut(maintenance: Session, shadow: str, run: str) -> None:
    before = [name for name in list_databases(maintenance) if run in name]
    with pytest.raises(UsageError):
        make(maintenance, shadow + "x" * 60, run)
    assert [name for name in list_databases(maintenance) if run in name] == before


def test_dropping_needs_oid_and_run(maintenance: Session, shadow: str, run: str) -> None:
    oid = make(maintenance, shadow, run)
    with pytest.raises(PrecheckRefused):
        drop_database(maintenance, shadow, expected_oid=oid + 1, marker_run=run)
    with pytest.raises(PrecheckRefused):
        drop_database(maintenance, shadow, expected_oid=oid, marker_run="another")
    postgres = who_is(maintenance, "postgres") or 0
    with pytest.raises(PrecheckRefused):
        drop_database(maintenance, "postgres", expected_oid=postgres, marker_run=run)
    assert who_is(maintenance, shadow) == oid
    drop_database(maintenance, shadow, expected_oid=oid, marker_run=run)
    assert who_is(maintenance, shadow) is None
    drop_database(maintenance, shadow, expected_oid=oid, marker_run=run)


def test_dropping_ends_sessions(
    server: EmbeddedServer, maintenance: Session, shadow: str, run: str
) -> None:
    oid = make(maintenance, shadow, run)
    with connect(Dsn.parse(server.conninfo(shadow)), purpose="test"):
        drop_database(maintenance, shadow, expected_oid=oid, marker_run=run)
    assert who_is(maintenance, shadow) is None


@pytest.mark.parametrize("target", ["chinook", "a" * 63, "ü" * 31])
def test_each_name_that_a_run_gives_is_reserved(target: str) -> None:
    assert is_reserved(shadow_name(target))
    assert is_reserved(kept_name(target, "ab2c"))
    assert is_reserved(kept_name(target, "ab2c_undone"))
    assert not is_reserved(target)
    assert not is_reserved(f"{target}_copy")
