"""Timestamps are read exactly, from every text that a server writes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.audit.timestamps import microseconds
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS = (
    *("1970-01-01 00:00:00+00", "2026-01-01 00:00:00.000001+00", "2026-02-28 23:59:59.999999+00"),
    *("2024-02-29 12:00:00.1+00", "1969-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00"),
    *("4714-11-24 00:00:00+00 BC", "0044-03-15 12:00:00+00 BC", "294246-12-31 23:59:59.999999+00"),
    "99999-06-01 00:00:00+00",
)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Amsterdam"])
def test_the_server_counts_the_same(
    server: EmbeddedServer, new_database: Callable[..., Secret], zone: str
) -> None:
    with connect(Dsn.parse(new_database(server)), purpose="test") as session:
        # Amsterdam was 19 minutes and 32 seconds ahead: offsets can have seconds.
        session.execute(f"SET TimeZone = '{zone}'")
        for text in TEXTS:
            row = session.one(
                "SELECT t::text, (extract(epoch FROM t) * 1000000)::numeric(30, 0)::text "
                "FROM (SELECT %s::timestamptz AS t) AS given",
                [text],
            )
            assert row is not None
            assert microseconds(row[0].encode()) == row[1].encode(), row


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_of_pythons_counts_right(at: datetime) -> None:
    text = at.strftime("%H:%M:%S.%f")
    whole = f"{at.year:04}-{at.month:02}-{at.day:02} {text}+00".encode()
    expected = b"%d" % ((at - EPOCH) // timedelta(microseconds=1))
    assert microseconds(whole) == expected
    # The second time by what is remembered of the minute.
    assert microseconds(whole) == expected


def test_no_offset_is_utc_and_infinity_stays() -> None:
    assert microseconds(b"1970-01-01 00:00:01") == b"1000000"
    assert microseconds(b"infinity") == b"infinity"
    assert microseconds(b"-infinity") == b"-infinity"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"now",
        b"01/02/2026",
        b"2026-01-01",
        b"2026-01-01 00:00:61.5x+00",
        b"2026-01-01T00:00:00+00",
    ],
)
def test_anything_else_is_no_timestamp(text: bytes) -> None:
    assert microseconds(text) is None
