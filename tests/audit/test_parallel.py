"""Several processes read one table: what comes out is what one process finds, seams included."""

import multiprocessing
import os
import signal
from typing import Any, Final

import pytest

from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.live_rows import PageRange, live_blocks
from alexandria_backup.audit.parallel import walk_table
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.rows import Layout
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session

KEY: Final = bytes(range(32))
ROWS: Final = 600
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


@pytest.fixture
def long(session: Any, chain: Chain) -> Chain:
    """A chain over so many pages that each of three processes gets some."""
    session.execute("TRUNCATE public.audit_logs")
    lines = list(audit_rows(ROWS, seed=1, key=KEY))
    session.copy_in(COPY_AUDIT_ROWS, lines)
    chain.ids[:] = [line.split(b"\t")[0].decode() for line in lines]
    return chain


def walked(chain: Chain, processes: int, key: AuditKey | None = None) -> AuditReport:
    walker = ChainWalker(chain.table(), ALEXANDRIA_V1, key)
    with chain.session.transaction(read_only=True, repeatable_read=True):
        walk_table(chain.session, walker, key, processes=processes)
    return walker.finish()


def test_a_good_chain_is_one_chain_however_many_read_it(long: Chain) -> None:
    alone, together = (walked(long, number, AuditKey.of(KEY)) for number in (1, 3))
    assert together == alone
    assert (together.status, together.rows) == (Status.INTACT, ROWS)
    assert together.out_of_order == 0


def test_an_attack_is_found_wherever_the_ranges_meet(long: Chain) -> None:
    long.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", long.ids[300])
    gone = [long.ids[place] for place in range(5, ROWS, 60)]
    long.sql("DELETE FROM public.audit_logs WHERE id = ANY (%s)", gone)
    alone, together = (walked(long, number, AuditKey.of(KEY)) for number in (1, 3))
    assert together.counts == alone.counts == {
        Code.LINK_BROKEN: len(gone), Code.ROW_HMAC_MISMATCH: 1,
    }  # fmt: skip
    assert {finding.id for finding in together.findings} == {f.id for f in alone.findings}


def test_without_a_key_the_others_need_none(long: Chain) -> None:
    assert walked(long, 2).status is Status.LINKS_ONLY


def test_ctrl_c_is_heard_by_whoever_has_started_the_others_and_by_none_of_them(
    long: Chain, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hit: list[int] = []

    def interrupted(session: Session, layout: Layout, *, pages: PageRange) -> Any:
        # They have just been started, and import.
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGINT)
            hit.append(process.pid or 0)
        return live_blocks(session, layout, pages=pages)

    monkeypatch.setattr("alexandria_backup.audit.parallel.live_blocks", interrupted)
    report = walked(long, 3, AuditKey.of(KEY))
    assert len(hit) == 2
    assert (report.status, report.rows) == (Status.INTACT, ROWS)
    assert capfd.readouterr().err == ""
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_what_a_process_meets_comes_through(long: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    walker = ChainWalker(long.table(), ALEXANDRIA_V1, None)
    with long.session.transaction(read_only=True, repeatable_read=True):
        monkeypatch.setattr(
            "alexandria_backup.audit.parallel.load",
            lambda _: {"export_snapshot": "SELECT '00000000-00000000-1'", "pages": "SELECT 20"
                       " WHERE %s <> %s"},
        )  # fmt: skip
        with pytest.raises(StatementFailed, match="snapshot"):
            walk_table(long.session, walker, None, processes=2)
    walker.close()
