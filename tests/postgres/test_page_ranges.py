"""Rows of a page range: a table in pieces, and which of them an earlier snapshot can have seen."""

from collections.abc import Callable, Iterator

import pytest

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.exported_snapshot import exported_snapshot
from alexandria_backup.postgres.page_ranges import (
    PageRange,
    RangeCount,
    copy_range_statement,
    count_ranges,
)
from alexandria_backup.secret import Secret

NewDatabase = Callable[..., Secret]

RANGES = [PageRange(first=first, end=first + 3) for first in range(0, 30, 3)]


@pytest.fixture
def session(server: EmbeddedServer, new_database: NewDatabase) -> Iterator[Session]:
    with connect(Dsn.parse(new_database(server)), purpose="test") as session:
        session.execute(
            "CREATE TABLE public.t AS SELECT i AS n, repeat('x', 100) AS x "
            "FROM generate_series(1, 1000) AS i"
        )
        session.execute("CREATE TABLE public.heir () INHERITS (public.t)")
        session.execute("INSERT INTO public.heir SELECT 0, 'not of the parent'")
        yield session


def copied(session: Session, pages: PageRange) -> bytes:
    statement = copy_range_statement("public", "t", ["n"], pages, encoding="UTF8")
    return b"".join(session.copy_out_batches(statement, batch_bytes=100))


def xmin(session: Session) -> int:
    with exported_snapshot(session) as exported:
        return exported.position.xmin


def test_the_ranges_joined_are_the_table_alone(session: Session) -> None:
    whole = copied(session, PageRange(first=0, end=None))
    assert whole == "".join(f"{n}\n" for n in range(1, 1001)).encode()
    assert b"".join(copied(session, pages) for pages in RANGES) == whole


def test_rows_of_before_are_not_young_even_when_they_are_frozen(session: Session) -> None:
    since = xmin(session)
    before = count_ranges(session, "public", "t", RANGES, since_xmin=since)
    assert sum(count.rows for count in before) == 1000
    assert {count.young for count in before} == {0}
    session.execute("VACUUM FREEZE public.t")
    assert count_ranges(session, "public", "t", RANGES, since_xmin=since) == before


def test_rows_written_since_are_young_in_their_range_alone(session: Session) -> None:
    since = xmin(session)
    session.execute("UPDATE public.t SET x = '' WHERE n = 1000")
    counts = count_ranges(session, "public", "t", RANGES, since_xmin=since)
    assert sum(count.young for count in counts) == 1
    assert sum(count.rows for count in counts) == 1000


def test_where_ids_have_gone_round_everything_counts_as_young(session: Session) -> None:
    ahead = xmin(session) + 1000
    assert (
        count_ranges(session, "public", "t", RANGES[:2], since_xmin=ahead)
        == [RangeCount(rows=0, young=1)] * 2
    )


def test_rows_longer_than_a_batch_are_cut(session: Session) -> None:
    statement = "COPY (SELECT repeat('y', 250) UNION ALL SELECT 'z') TO STDOUT"
    sent = session.copy_out_batches(statement, batch_bytes=100)
    assert [len(batch) for batch in sent] == [100, 100, 53]
    assert sent.rows == 2
