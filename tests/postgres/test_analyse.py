"""The planner learns what a loaded database holds, and no other server is asked for it."""

from collections.abc import Callable, Iterator

import pytest

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.analyse import analyse
from alexandria_backup.postgres.catalog import sequences_behind
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

_ANALYSED = "SELECT relname FROM pg_class WHERE relname IN ('own', 'near') AND reltuples >= 0"


@pytest.fixture
def session(
    debian_server: EmbeddedServer, new_database: Callable[..., Secret]
) -> Iterator[Session]:
    with connect(Dsn.parse(new_database(debian_server)), purpose="test") as opened:
        opened.execute("CREATE TABLE public.own AS SELECT generate_series(1, 10) AS id")
        yield opened


def link_to_nowhere(session: Session) -> None:
    """Make tables whose parts lie on a server that nobody can reach."""
    session.execute("""
        CREATE EXTENSION postgres_fdw SCHEMA public;
        CREATE SERVER nowhere FOREIGN DATA WRAPPER postgres_fdw
            OPTIONS (host '127.0.0.1', port '1');
        CREATE USER MAPPING FOR PUBLIC SERVER nowhere OPTIONS (user 'nobody');
        CREATE TABLE public.whole (id serial, kind int) PARTITION BY LIST (kind);
        CREATE TABLE public.near PARTITION OF public.whole FOR VALUES IN (1);
        INSERT INTO public.whole (kind) VALUES (1);
        CREATE FOREIGN TABLE public.far PARTITION OF public.whole FOR VALUES IN (2) SERVER nowhere;
    """)


def test_all_tables_are_analysed(session: Session) -> None:
    analyse(session)
    assert session.all(_ANALYSED) == [("own",)]


def test_a_partition_on_another_server_is_left_alone(session: Session) -> None:
    link_to_nowhere(session)
    with pytest.raises(StatementFailed, match="could not connect"):
        session.execute("ANALYZE")
    analyse(session)
    assert sorted(session.all(_ANALYSED)) == [("near",), ("own",)]


def test_no_sequence_is_compared_with_rows_of_another_server(session: Session) -> None:
    link_to_nowhere(session)
    assert sequences_behind(session) == ()
