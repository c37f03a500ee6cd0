"""One view of a database, held by one session and shared by others."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.exported_snapshot import (
    adopt_snapshot,
    exported_snapshot,
    lsn_bytes,
)
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]


@pytest.fixture
def dsn(server: EmbeddedServer, new_database: NewDatabase) -> Dsn:
    dsn = Dsn.parse(new_database(server))
    with connect(dsn, purpose="test") as session:
        session.execute("CREATE TABLE public.a AS SELECT 1 AS n")
        session.execute('CREATE SCHEMA "S""x"; CREATE TABLE "S""x"."T t" (n int)')
        session.execute("CREATE TABLE public.p (n int) PARTITION BY LIST (n)")
    return dsn


@pytest.fixture
def leader(dsn: Dsn) -> Iterator[Session]:
    with connect(dsn, purpose="test", timeouts=Timeouts(lock=0.2)) as session:
        yield session


def test_sessions_that_adopt_it_see_the_same_and_nothing_later(dsn: Dsn, leader: Session) -> None:
    with (
        exported_snapshot(leader) as exported,
        connect(dsn, purpose="test") as writer,
        connect(dsn, purpose="test") as worker,
    ):
        writer.execute("INSERT INTO public.a VALUES (2)")
        adopt_snapshot(worker, exported.id)
        assert worker.value("SELECT count(*) FROM public.a") == 1
        assert leader.value("SELECT count(*) FROM public.a") == 1
        assert worker.value("SELECT current_setting('max_parallel_workers_per_gather')") == "0"


def test_every_table_is_locked_against_being_moved(dsn: Dsn, leader: Session) -> None:
    with exported_snapshot(leader) as exported, connect(dsn, purpose="test") as other:
        assert len(exported.locked) == 3
        other.execute("SET lock_timeout = '50ms'")
        for statement in (
            "VACUUM FULL public.a",
            'ALTER TABLE "S""x"."T t" ADD COLUMN m int',
            "TRUNCATE public.p",
        ):
            with pytest.raises(StatementFailed, match="lock timeout"):
                other.execute(statement)
    with connect(dsn, purpose="test") as other:
        other.execute("VACUUM FULL public.a")


def test_a_table_that_is_dropped_before_it_is_locked_is_no_obstacle(
    dsn: Dsn, leader: Session
) -> None:
    """The list is read, the drop commits, and only then the lock is granted: to nothing."""
    with psycopg.connect(dsn.conninfo().reveal()) as dropping:
        dropping.execute("DROP TABLE public.a")
        with pytest.raises(StatementFailed, match="lock timeout"), exported_snapshot(leader):
            pass
        dropping.commit()
    with exported_snapshot(leader) as exported:
        assert len(exported.locked) == 2


def test_the_position_moves_on_with_what_is_written(dsn: Dsn, leader: Session) -> None:
    with exported_snapshot(leader) as first:
        pass
    leader.execute("INSERT INTO public.a SELECT generate_series(1, 1000)")
    with exported_snapshot(leader) as second:
        pass
    assert second.position.lsn_bytes > first.position.lsn_bytes
    assert second.position.xmax > first.position.xmax
    assert second.position.timeline == first.position.timeline == 1


def test_an_lsn_is_a_number_with_a_high_half() -> None:
    assert lsn_bytes("0/15D68C8") == 0x15D68C8
    assert lsn_bytes("2/0") > lsn_bytes("1/FFFFFFFF")
    with pytest.raises(ValueError, match="invalid literal"):
        lsn_bytes("15D68C8")
