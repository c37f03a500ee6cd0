"""Binary values straight from libpq: whole, in order, and a session that goes on afterwards."""

from collections.abc import Callable, Iterator

import pytest

from alexandria_backup.errors import ConnectionLost, StatementFailed
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret


@pytest.fixture
def session(server: EmbeddedServer, new_database: Callable[..., Secret]) -> Iterator[Session]:
    with connect(Dsn.parse(new_database(server)), purpose="test") as opened:
        yield opened


@pytest.mark.parametrize("rows", [0, 1, 2, 5000])
def test_values_come_in_order(session: Session, rows: int) -> None:
    query = f"SELECT int4send(n) FROM generate_series(1, {rows}) AS n"
    found = [value for block in session.copy_out_values(query) for value in block]
    assert found == [number.to_bytes(4, "big") for number in range(1, rows + 1)]
    assert session.value("SELECT 1") == 1


def test_empty_and_large_values_are_whole(session: Session) -> None:
    query = "SELECT convert_to(repeat('x', n), 'UTF8') FROM unnest(ARRAY[0, 2, 3000000, 0]) AS n"
    found = [len(value) for block in session.copy_out_values(query) for value in block]
    assert found == [0, 2, 3_000_000, 0]


def test_an_error_before_and_in_the_middle_is_the_servers(session: Session) -> None:
    with pytest.raises(StatementFailed, match="no_such"):
        list(session.copy_out_values("SELECT no_such"))
    broken = "SELECT int4send(1 / (400000 - generate_series(1, 500000)))"
    with pytest.raises(StatementFailed, match="division by zero"):
        list(session.copy_out_values(broken))
    assert session.value("SELECT 1") == 1


def test_leaving_early_cancels_and_the_session_goes_on(session: Session) -> None:
    values = session.copy_out_values("SELECT int4send(generate_series(1, 100000000))")
    assert next(values)
    values.close()  # type: ignore[attr-defined]
    assert session.value("SELECT 1") == 1


def test_a_connection_that_ends_is_lost(session: Session, server: EmbeddedServer) -> None:
    values = session.copy_out_values("SELECT int4send(generate_series(1, 100000000))")
    assert next(values)
    with connect(Dsn.parse(server.conninfo("postgres")), purpose="test") as other:
        other.execute("SELECT pg_terminate_backend(%s)", (session.pid,))
    with pytest.raises(ConnectionLost):
        list(values)


def test_a_setting_is_as_it_was_afterwards(session: Session) -> None:
    before = session.value("SHOW work_mem")
    with session.with_setting("work_mem", "77MB"):
        assert session.value("SHOW work_mem") == "77MB"
    assert session.value("SHOW work_mem") == before


def test_a_snapshot_is_seen_by_another_session(session: Session) -> None:
    session.execute("CREATE TABLE public.t (n int)")
    with session.transaction(repeatable_read=True):
        name = session.value("SELECT pg_export_snapshot()")
        with connect(session.dsn, purpose="test") as other:
            other.execute("INSERT INTO public.t VALUES (1)")
            with other.imported(name):
                assert other.value("SELECT count(*) FROM public.t") == 0
            assert other.value("SELECT count(*) FROM public.t") == 1
    with pytest.raises(StatementFailed), session.imported(name):
        pass
