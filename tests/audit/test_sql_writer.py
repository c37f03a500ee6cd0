"""The recipe as a SQL function: the same bytes as the library's, side by side with it."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from alexandria_backup.audit.discovery import discover_table
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.sql_writer import append_function
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.errors import StatementFailed, UsageError
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer

WRITERS: Final = 16
CALL: Final = "SELECT public.append_audit_log(%s, %s, %s, NULL, %s, %s)"


@pytest.fixture(params=["text", "jsonb"])
def writable(session: Session, request: pytest.FixtureRequest) -> Session:
    session.execute(
        f"ALTER TABLE public.audit_logs ALTER metadata TYPE {request.param} USING metadata::jsonb"
    )
    table = discover_table(session)
    assert table is not None
    session.execute(append_function(table, ALEXANDRIA_V1))
    return session


@pytest.mark.parametrize("key", [bytes(range(16)), bytes(range(64)), bytes(100)])
def test_its_rows_are_what_was_signed(writable: Session, key: bytes) -> None:
    for said in ('{"b": 1,  "a": "é"}', None, '{"q": "\\"\\\\"}'):
        writable.value(CALL, (key, "zoë", "login", None, said))
    report = verify_live(writable, recipe=ALEXANDRIA_V1, key=AuditKey.of(key))
    assert (report.status, report.rows) == (Status.INTACT, 3)


def test_writers_of_both_kinds_wait_for_each_other(writable: Session) -> None:
    key = bytes(range(32))
    table = discover_table(writable)
    assert table is not None
    entry = NewEntry(principal="ada", action="login", metadata='{"a": 1}')

    def by_function(own: Session) -> Any:
        return own.value(CALL, (key, "ada", "login", None, '{"a": 1}'))

    def by_library(own: Session) -> Any:
        return append(own, table=table, recipe=ALEXANDRIA_V1, key=key, entry=entry)

    failed: list[Exception] = []

    def work(write: Callable[[Session], Any]) -> None:
        try:
            with connect(writable.dsn, purpose="test") as own:
                for _ in range(5):
                    write(own)
        except Exception as error:  # noqa: BLE001 - for the assertion
            failed.append(error)

    kinds = (by_function, by_library)
    threads = [threading.Thread(target=work, args=(kinds[n % 2],)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    report = verify_live(writable, recipe=ALEXANDRIA_V1, key=AuditKey.of(key))
    assert (report.status, report.rows) == (Status.INTACT, WRITERS * 5)
    ids = [ident for (ident,) in writable.all("SELECT id FROM public.audit_logs")]
    assert len(set(ids)) == len(ids)


def test_it_refuses_what_it_cannot_go_on_from(writable: Session) -> None:
    with pytest.raises(StatementFailed, match="at least 16 bytes"):
        writable.value(CALL, (b"short", "a", "b", None, None))
    writable.execute("INSERT INTO public.audit_logs (id, hmac) VALUES ('zz', repeat('0', 64))")
    with pytest.raises(StatementFailed, match="no ULID"):
        writable.value(CALL, (bytes(32), "a", "b", None, None))
    writable.execute("UPDATE public.audit_logs SET hmac = NULL")
    with pytest.raises(StatementFailed, match="no HMAC"):
        writable.value(CALL, (bytes(32), "a", "b", None, None))


def test_a_recipe_of_another_kind_has_no_function(session: Session) -> None:
    table = discover_table(session)
    assert table is not None
    with pytest.raises(UsageError, match="no SQL function"):
        append_function(table, replace(ALEXANDRIA_V1, output=Output.BASE64))


def test_it_needs_nothing_that_an_older_server_lacks(
    server16: EmbeddedServer, new_database: Any
) -> None:
    with connect(Dsn.parse(new_database(server16)), purpose="test") as old:
        old.execute(
            "CREATE TABLE public.audit_log (id text, action text, hash text, prev_hash text,"
            " principal text, agent text, session text, metadata json, created_at timestamp)"
        )
        table = discover_table(old)
        assert table is not None
        old.execute(append_function(table, ALEXANDRIA_V1))
        for number in range(3):
            old.value(CALL, (bytes(32), None, f"a{number}", "s", "[1,  2]"))
        report = verify_live(old, recipe=ALEXANDRIA_V1, key=AuditKey.of(bytes(32)))
    assert (report.status, report.rows) == (Status.INTACT, 3)
