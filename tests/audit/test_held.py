"""What is verified is the table as it is once whoever empties or rewrites it has committed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from alexandria_backup.audit.evidence import collect
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.errors import AuditUnverified
from alexandria_backup.postgres.connect import connect

#: `conftest.Chain`, which cannot be imported from here.
Chain = Any

FILLED_ANEW: Final = """
CREATE TEMP TABLE kept AS TABLE {table};
TRUNCATE {table};
INSERT INTO {table} SELECT * FROM kept
"""
CHAIN_FILLED_ANEW: Final = FILLED_ANEW.format(table="public.audit_logs")
REWRITTEN: Final = "ALTER TABLE public.audit_logs ALTER action TYPE varchar(80)"
WAITS: Final = "SELECT count(*) FROM pg_catalog.pg_locks WHERE pid = %s AND NOT granted"


def read_while(chain: Chain, statements: str, read: Callable[[], Any]) -> Any:
    """Return what is read by a session that has waited for the statements of another one."""
    with (
        ThreadPoolExecutor(1) as thread,
        connect(chain.session.dsn, purpose="test") as other,
        other.transaction(),
    ):
        other.execute(statements)
        reading = thread.submit(read)
        while not other.value(WAITS, (chain.session.pid,)) and not reading.done():
            pass
    return reading.result()


@pytest.mark.parametrize("statements", [CHAIN_FILLED_ANEW, REWRITTEN])
def test_a_good_chain_that_is_rewritten_meanwhile_is_good(chain: Chain, statements: str) -> None:
    anchor = chain.verify().anchors[0]
    report = read_while(chain, statements, lambda: chain.verify(anchor=anchor))
    assert (report.status, report.rows) == (Status.VERIFIED, len(chain.ids))


def test_rows_that_are_gone_meanwhile_are_missed(chain: Chain) -> None:
    anchor = chain.verify().anchors[0]
    report = read_while(chain, "TRUNCATE public.audit_logs", lambda: chain.verify(anchor=anchor))
    assert (report.status, report.rows) == (Status.BROKEN, 0)


def test_evidence_is_collected_from_the_rows_that_are_there(chain: Chain) -> None:
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[10])
    table = chain.table()
    found = read_while(
        chain,
        CHAIN_FILLED_ANEW,
        lambda: collect(chain.session, table=table, recipe=ALEXANDRIA_V1, key=chain.key),
    )
    assert found.report.counts == {Code.ROW_HMAC_MISMATCH: 1}
    assert [row.id for row in found.rows] == [chain.ids[10]]


def test_retired_rows_that_are_rewritten_meanwhile_are_there(
    chain: Chain, retired_row: Callable[[Chain], str]
) -> None:
    retired_row(chain)
    before = chain.verify()
    statements = FILLED_ANEW.format(table="public.audit_logs_retired")
    assert read_while(chain, statements, chain.verify) == before


def test_a_table_that_holds_no_chain_any_more_is_not_verified(chain: Chain) -> None:
    with pytest.raises(AuditUnverified, match="no column `hmac`"):
        read_while(chain, "ALTER TABLE public.audit_logs DROP hmac", chain.verify)
