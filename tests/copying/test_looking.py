"""While processes copy frames, they read the audit table for whoever looks at it beside them."""

from typing import Final

import pytest
from copying_support import Desk, frames

from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.parallel import Readers
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.verify import verify_in_transaction
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session, connect

KEY: Final = bytes(range(32))
ROWS: Final = 600
TABLE = """
CREATE TABLE public.audit_logs (
    id text COLLATE "C" PRIMARY KEY, principal text, action text, agent text, session text,
    metadata text, tenant_id text, hmac text, prev_hmac text, created_at timestamptz
)
"""


@pytest.fixture
def audited(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose database has a chain, and whose processes read however little there is."""
    monkeypatch.setattr("alexandria_backup.copying.take_snapshot._PROCESSES_ABOVE_BYTES", 0)
    monkeypatch.setattr("alexandria_backup.audit.parallel._PAGES_WORTH_A_PROCESS", 1)
    with connect(desk.dsn, purpose="test") as session:
        session.execute(TABLE)
        session.copy_in(COPY_AUDIT_ROWS, list(audit_rows(ROWS, seed=1, key=KEY)))
    desk.jobs = 2
    return desk


def verified(session: Session, readers: Readers) -> AuditReport:
    return verify_in_transaction(
        session, recipe=ALEXANDRIA_V1, key=AuditKey.of(KEY), readers=readers
    )


def test_the_readers_see_the_whole_chain_as_the_snapshot_has_it(audited: Desk) -> None:
    seen: list[AuditReport] = []

    def look(session: Session, readers: Readers) -> None:
        audited.sql("DELETE FROM public.audit_logs")
        seen.append(verified(session, readers))

    copied = audited.take(look_beside=look)
    assert [(report.status, report.rows) for report in seen] == [(Status.INTACT, ROWS)]
    assert sum(frame.rows for frame in frames(copied, "audit_logs")) == ROWS


def test_the_readers_find_what_is_wrong(audited: Desk) -> None:
    audited.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = (SELECT max(id) "
                "FROM public.audit_logs)")  # fmt: skip
    seen: list[AuditReport] = []
    audited.take(look_beside=lambda session, readers: seen.append(verified(session, readers)))
    assert [report.status for report in seen] == [Status.BROKEN]


def test_what_the_look_meets_ends_the_snapshot(audited: Desk) -> None:
    with pytest.raises(StatementFailed, match="division by zero"):
        audited.take(look_beside=lambda session, _: session.execute("SELECT 1 / 0"))


def test_a_look_that_waits_for_readers_ends_where_the_copying_fails(audited: Desk) -> None:
    def fail(*_: object) -> None:
        raise StatementFailed("no more")

    with pytest.raises(StatementFailed, match="no more"):
        audited.take(
            look_beside=lambda session, _: session.execute("SELECT pg_sleep(600)"), stored=fail
        )


def test_where_threads_read_nothing_is_looked_at_beside_them(audited: Desk) -> None:
    audited.jobs = 1
    audited.take(look_beside=lambda *_: pytest.fail("nobody reads for it"))
