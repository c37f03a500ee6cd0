"""Rows are appended one at a time, whoever appends, and the key is tried by a few of them."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.audit.discovery import discover_table
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.verify import try_key, verify_live
from alexandria_backup.audit.writer import NewEntry, append, ulid_after
from alexandria_backup.errors import AuditBroken, AuditUnverified
from alexandria_backup.postgres.connect import Session, connect

KEY = bytes(range(32))
OTHER = b"another key of 32 bytes, or more"
ENTRY = NewEntry(principal="zoë", action="login", metadata='{"b": 1,  "a": 2}')
moments = st.integers(0, 2**33).map(lambda second: datetime.fromtimestamp(second, UTC))
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


@pytest.fixture
def write(session: Session) -> Callable[..., Any]:
    table = discover_table(session)
    assert table is not None
    return lambda on=session, entry=ENTRY: append(
        on, table=table, recipe=ALEXANDRIA_V1, key=KEY, entry=entry
    )


def test_a_chain_is_begun_and_goes_on(session: Session, write: Callable[..., Any]) -> None:
    first, second = write(), write()
    assert first.previous == bytes(32)
    assert second.previous == first.hmac
    report = verify_live(session, recipe=ALEXANDRIA_V1, key=AuditKey.of(KEY))
    assert (report.status, report.rows) == (Status.INTACT, 2)
    assert report.anchors[0].last_id == second.id


def test_writers_wait_for_each_other(session: Session, write: Callable[..., Any]) -> None:
    def work() -> None:
        with connect(session.dsn, purpose="test") as own:
            for _ in range(6):
                write(own)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_live(session, recipe=ALEXANDRIA_V1, key=AuditKey.of(KEY))
    assert (report.status, report.rows) == (Status.INTACT, 96)


@given(moments, moments)
def test_an_id_is_greater_than_the_last_whatever_the_clock_says(
    at: datetime, before: datetime
) -> None:
    last = ulid_after(before, None)
    assert ulid_after(at, last) > last
    assert len(ulid_after(at, last)) == len(last) == 26


def test_a_table_of_another_kind_is_not_written_to(
    session: Session, write: Callable[..., Any]
) -> None:
    session.execute("INSERT INTO public.audit_logs (id, hmac) VALUES ('zz', repeat('0', 64))")
    with pytest.raises(AuditUnverified, match="no ULID"):
        write()
    session.execute("UPDATE public.audit_logs SET hmac = NULL")
    with pytest.raises(AuditBroken, match="no HMAC"):
        write()
    assert session.value("SELECT count(*) FROM public.audit_logs") == 1


def test_a_value_that_has_no_column_is_refused(session: Session) -> None:
    session.execute("ALTER TABLE public.audit_logs DROP COLUMN tenant_id")
    table = discover_table(session)
    assert table is not None
    entry = NewEntry(principal=None, action="x", tenant_id="t")
    with pytest.raises(AuditUnverified, match="`tenant_id`"):
        append(session, table=table, recipe=ALEXANDRIA_V1, key=KEY, entry=entry)


@pytest.mark.parametrize(
    ("key", "good", "said"),
    [(KEY, True, "fits"), (OTHER, False, "fits none"), (None, False, "no key is set")],
)
def test_a_key_is_tried(chain: Chain, key: bytes | None, good: bool, said: str) -> None:
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[0])
    used = None if key is None else AuditKey.of(key)
    fit = try_key(chain.session, recipe=ALEXANDRIA_V1, key=used, table=chain.table())
    assert fit.good is good
    assert said in fit.message
    assert (fit.hint is None) is good


def test_a_transaction_goes_on_after_a_key_was_tried(chain: Chain) -> None:
    # The first row fits, while the server still has much to send of the others.
    chain.sql(
        "UPDATE public.audit_logs SET metadata = repeat('x', 200000) WHERE id <> %s", chain.ids[0]
    )
    with chain.session.transaction(read_only=True, repeatable_read=True):
        fit = try_key(chain.session, recipe=ALEXANDRIA_V1, key=chain.key, table=chain.table())
        assert fit.good
        assert chain.session.value("SELECT count(*) FROM public.audit_logs") == len(chain.ids)
