"""The chain in a stream of tables: whatever order they come in, the verdict is the database's."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.incarnation import declare
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.stream import StreamedChain
from alexandria_backup.errors import AuditUnverified
from alexandria_backup.postgres.connect import Session

KEY: Final = bytes(range(32))
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any

_TABLES = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'alexandria_backup')
GROUP BY 1, 2 ORDER BY 1, 2
"""


def streamed(session: Session, *, backwards: bool = False, **given: Any) -> AuditReport | None:
    chain = StreamedChain(recipe=ALEXANDRIA_V1, key=AuditKey.of(KEY), **given)
    tables = session.all(_TABLES)
    for schema, name, columns in reversed(tables) if backwards else tables:
        sink = chain.sink(schema, name, columns)
        if sink is not None:
            rows = session.copy_out(f'COPY "{schema}"."{name}" ({", ".join(columns)}) TO STDOUT')
            for row in rows:
                sink([row[:-1]])
    return chain.finish()


@pytest.mark.parametrize("backwards", [False, True])
def test_retired_rows_and_incarnations_come_along(
    chain: Chain, retired_row: Callable[[Chain], str], backwards: bool
) -> None:
    (before,) = chain.verify().anchors
    ident = retired_row(chain)
    declare(chain.session, run="restore-1", source="s", rows={"": 30})
    live = chain.verify(anchor=before)
    found = streamed(chain.session, backwards=backwards, anchors=(before,))
    assert found is not None
    assert (found.status, found.rows, found.anchors) == (live.status, live.rows, live.anchors)
    assert [finding.id for finding in found.known] == [ident]
    assert found.status is Status.INTACT
    assert any("`restore-1`" in note for note in found.notes)


def test_a_retired_row_changed_afterwards_is_found(
    chain: Chain, retired_row: Callable[[Chain], str]
) -> None:
    retired_row(chain)
    chain.sql("UPDATE public.audit_logs_retired SET action = 'other'")
    found = streamed(chain.session)
    assert found is not None
    assert found.counts == {Code.ROW_HMAC_MISMATCH: 1}


def test_no_chain_and_two_chains(chain: Chain) -> None:
    chain.sql("CREATE TABLE public.audit_log (LIKE public.audit_logs)")
    with pytest.raises(AuditUnverified, match="several tables"):
        streamed(chain.session)
    named = streamed(chain.session, table=("public", "audit_logs"))
    assert named is not None
    assert named.rows == len(chain.ids)
    assert StreamedChain(recipe=ALEXANDRIA_V1, key=None).finish() is None
