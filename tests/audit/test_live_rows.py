"""What the server puts together is, byte for byte, what this program makes of COPY text."""

import random
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.live_rows import PageRange, live_blocks, live_lines
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.rows import Layout, RowReader
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer

#: `conftest.Chain`, which cannot be imported from here.
Chain = Any

WHOLE = PageRange(first=0, end=1, last=True)
EDGES = (
    "infinity", "-infinity", "1969-12-31 23:59:59.999999+00", "1970-01-01 00:00:00+00",
    "2001-09-09 01:46:39.999999+00", "2001-12-31 23:59:59.999999+00", "2002-01-01 00:00:00+00",
    "2037-12-31 23:59:59.999999+00", "2038-01-01 00:00:00+00", "2286-11-20 17:46:40+00",
    "9999-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00",
)  # fmt: skip


def from_text(chain: Chain, table: AuditTable) -> list[bytes]:
    reader = RowReader(table, ALEXANDRIA_V1)
    return [reader.canonical(line) for line in live_lines(chain.session, table)]


def from_server(chain: Chain, table: AuditTable, pages: PageRange | None) -> list[bytes]:
    layout = Layout(table, ALEXANDRIA_V1)
    with chain.session.transaction(read_only=True, repeatable_read=True):
        blocks = live_blocks(chain.session, layout, pages=pages)
        return [row for block in blocks for row in block]


def same(chain: Chain) -> None:
    table = chain.table()
    expected = from_text(chain, table)
    assert from_server(chain, table, WHOLE) == expected
    assert from_server(chain, table, None) == expected


def test_each_microsecond_of_a_timestamp_is_kept(chain: Chain) -> None:
    chance = random.Random(7)
    begin = datetime(1960, 1, 1, tzinfo=UTC)
    spread = [begin + timedelta(microseconds=chance.randrange(3 * 10**15)) for _ in range(3000)]
    chain.sql("TRUNCATE public.audit_logs")
    chain.sql(
        "INSERT INTO public.audit_logs (id, created_at) SELECT n::text, at::timestamptz "
        "FROM unnest(%s::text[]) WITH ORDINALITY AS given (at, n)",
        [*EDGES, *(at.isoformat() for at in spread)],
    )
    same(chain)


def test_a_timestamp_without_a_zone_is_read_as_utc(chain: Chain) -> None:
    chain.sql("SET TimeZone = 'Pacific/Auckland'")
    chain.sql("ALTER TABLE public.audit_logs ALTER created_at TYPE timestamp")
    chain.sql("UPDATE public.audit_logs SET created_at = '-infinity' WHERE id = %s", chain.ids[3])
    same(chain)


@pytest.mark.parametrize("stored", ["", "ff", "é" * 64, "0" * 63, "0" * 65, None])
def test_an_hmac_of_any_length_stays_what_it_is(chain: Chain, stored: str | None) -> None:
    chain.sql("UPDATE public.audit_logs SET hmac = %s WHERE id = %s", stored, chain.ids[4])
    chain.sql("UPDATE public.audit_logs SET prev_hmac = %s WHERE id = %s", stored, chain.ids[9])
    same(chain)


def test_rows_whose_values_lie_outside_their_pages_are_read_one_by_one(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs ALTER metadata SET STORAGE EXTERNAL")
    chain.sql(
        "UPDATE public.audit_logs SET metadata = repeat('x', 9000) WHERE id = %s", chain.ids[2]
    )
    same(chain)


def test_a_value_that_is_large_and_fits_its_page_comes_with_its_neighbours(chain: Chain) -> None:
    chain.sql(
        "UPDATE public.audit_logs SET metadata = repeat('x', 100000) WHERE id = %s", chain.ids[2]
    )
    assert (
        chain.session.value(
            "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'audit_logs'"
        )
        == 0
    )
    same(chain)


def test_page_ranges_together_are_the_table_and_pages_without_rows_are_none(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs SET (fillfactor = 10)")
    chain.sql("CREATE TABLE public.copied AS TABLE public.audit_logs")
    chain.sql("TRUNCATE public.audit_logs")
    for _ in range(30):
        # Each time behind the rows before, which are gone then.
        chain.sql("DELETE FROM public.audit_logs")
        chain.sql("INSERT INTO public.audit_logs TABLE public.copied")
    table = chain.table()
    pages = chain.session.value("SELECT pg_relation_size('public.audit_logs') / 8192")
    assert pages > 40
    cuts = [(0, 7, False), (7, 17, False), (17, 17, False), (17, pages, True)]
    found = [
        row
        for first, end, last in cuts
        for row in from_server(chain, table, PageRange(first=first, end=end, last=last))
    ]
    assert found == from_text(chain, table)


def test_rows_that_came_since_the_pages_were_counted_are_read(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs SET (fillfactor = 10)")
    chain.sql("CREATE TABLE public.copied AS TABLE public.audit_logs")
    chain.sql("TRUNCATE public.audit_logs")
    chain.sql("INSERT INTO public.audit_logs TABLE public.copied")
    table = chain.table()
    assert chain.session.value("SELECT pg_relation_size('public.audit_logs') / 8192") > 1
    assert from_server(chain, table, PageRange(first=0, end=1, last=True)) == from_text(
        chain, table
    )
    empty = PageRange(first=0, end=0, last=True)
    assert from_server(chain, table, empty) == from_text(chain, table)


def test_a_role_that_may_not_scan_by_page_reads_no_table_many_times(chain: Chain) -> None:
    chain.sql("SET enable_tidscan = off")
    same(chain)
    assert chain.session.value("SHOW enable_tidscan") == "off"
    assert chain.session.value("SHOW enable_seqscan") == "on"


@pytest.fixture
def latin1(server_any: EmbeddedServer) -> Iterator[Session]:
    """A database of another encoding, with an empty audit table."""
    name = f"test_{secrets.token_hex(6)}"
    with connect(Dsn.parse(server_any.conninfo("postgres")), purpose="test") as session:
        session.execute(f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
        with connect(Dsn.parse(server_any.conninfo(name)), purpose="test") as there:
            there.execute(
                "CREATE TABLE public.audit_logs (id text, principal text, action text, agent text, "
                "session text, metadata text, tenant_id text, hmac text, prev_hmac text, "
                "created_at timestamptz)"
            )
            yield there
        session.execute(f"DROP DATABASE {name}")


def test_what_is_stored_in_another_encoding_is_read_as_utf8(latin1: Session) -> None:
    key = bytes(range(32))
    table = discover_table(latin1)
    assert table is not None
    for name in ("Zoë", "Åsa"):
        entry = NewEntry(principal=name, action="login")
        append(latin1, table=table, recipe=ALEXANDRIA_V1, key=key, entry=entry)
    report = verify_live(latin1, recipe=ALEXANDRIA_V1, key=AuditKey.of(key))
    assert (report.status, report.rows) == (Status.INTACT, 2)
