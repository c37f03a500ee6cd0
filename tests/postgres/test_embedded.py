"""The embedded server: starts, recovers, and never outlives whoever started it."""

from collections.abc import Callable

import psycopg

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret


def test_answers(server: EmbeddedServer) -> None:
    with psycopg.connect(server.conninfo().reveal()) as connection:
        row = connection.execute(
            "SELECT pg_catalog.current_setting('server_version_num')"
        ).fetchone()
    assert row is not None
    assert int(row[0]) // 10000 == server.major


def test_chinook_is_cloned(server: EmbeddedServer, chinook: Callable[..., Secret]) -> None:
    with psycopg.connect(chinook(server).reveal()) as connection:
        assert connection.execute("SELECT count(*) FROM public.track").fetchone() == (3503,)
