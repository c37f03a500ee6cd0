"""Many tenants, a table that is altered while it is read, and a real standby."""

import json
import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pytest
from standby_support import catch_up, standby_of

from alexandria_backup.audit import parallel
from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.chain import ChainWalker
from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.parallel import walk_table
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.verify import verify_live, verify_rows
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer

KEY: Final = bytes(range(32))
TENANTS: Final = 200
GAPS: Final = 5000
#: A timestamp as the writer gives it to the server, which gives it back otherwise.
_ISO: Final = re.compile(rb"(\d)T([\d:.]+)\+00:00")
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any
DDL = (
    "TRUNCATE public.audit_logs",
    "ALTER TABLE public.audit_logs ALTER metadata TYPE varchar(9999)",
    "ALTER TABLE public.audit_logs DROP COLUMN agent",
    "DROP TABLE public.audit_logs",
)


def test_each_of_two_hundred_tenants_has_a_chain(chain: Chain) -> None:
    recipe = replace(ALEXANDRIA_V1, per_tenant=True)
    chain.sql("TRUNCATE public.audit_logs")
    table = chain.table()
    for number in range(3 * TENANTS):
        entry = NewEntry(principal="ada", action=f"a{number}", tenant_id=f"t{number % TENANTS:03}")
        append(chain.session, table=table, recipe=recipe, key=KEY, entry=entry)
    report = verify_live(chain.session, recipe=recipe, key=chain.key)
    assert (report.status, report.chains, report.rows) == (Status.INTACT, TENANTS, 3 * TENANTS)
    assert {anchor.count for anchor in report.anchors} == {3}
    again = verify_live(chain.session, recipe=recipe, key=chain.key, anchors=report.anchors)
    assert again.status is Status.VERIFIED
    chain.sql("DELETE FROM public.audit_logs WHERE action IN ('a199', 'a207', 'a406')")
    cut = verify_live(chain.session, recipe=recipe, key=chain.key, anchors=report.anchors)
    assert {finding.chain for finding in cut.findings} == {"t199", "t007", "t006"}


def test_what_holds_for_each_of_many_tenants_is_said_once(chain: Chain) -> None:
    chain.sql("TRUNCATE public.audit_logs")
    chain.sql(
        "INSERT INTO public.audit_logs (id, tenant_id, created_at) "
        "SELECT n::text, 'tenant ' || n % 50, now() FROM generate_series(1, 100) AS n"
    )
    recipe = replace(ALEXANDRIA_V1, per_tenant=True)
    lost = [
        Anchor(
            chain=f"gone {n}", count=1, first_id="1", first_hmac="", last_id="1", last_hmac="",
            rolling="", settled="",
        )
        for n in range(50)
    ]  # fmt: skip
    report = verify_live(chain.session, recipe=recipe, key=chain.key, anchors=lost, limit=5)
    assert report.chains == 50
    said = [reason for reason in report.skipped if "carry no HMAC" in reason]
    assert said == ["rows from before the chain, which carry no HMAC: 2; nothing protects them"]
    assert report.counts == {Code.BEHIND_ANCHOR: 50}
    assert len(report.findings) == 5


@pytest.mark.parametrize("keyed", [True, False])
def test_findings_in_great_number_are_counted_in_full_and_cost_little(
    table: AuditTable, *, keyed: bool
) -> None:
    lines = [_ISO.sub(rb"\1 \2+00", line[:-1]) for line in audit_rows(2 * GAPS, seed=1, key=KEY)]
    key = AuditKey.of(KEY) if keyed else None
    tracemalloc.start()
    try:
        report = verify_rows(lines[::2], table, recipe=ALEXANDRIA_V1, key=key)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.counts == {Code.LINK_BROKEN: GAPS - 1}
    assert len(report.findings) == 100
    assert report.findings[0].before == lines[0].split(b"\t")[0].decode()
    assert len(json.dumps([asdict(finding) for finding in report.findings])) < 100_000
    assert peak < 1000 * GAPS + 2_000_000


@pytest.mark.parametrize("statement", DDL)
def test_nobody_alters_a_table_between_two_processes_that_read_it(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    tried: list[str] = []

    def meddling(session: Session, *told: Any) -> object:
        with connect(session.dsn, purpose="other") as other:
            other.execute("SET lock_timeout = '100ms'")
            with pytest.raises(StatementFailed, match="lock timeout"):
                other.execute(statement)
        tried.append(statement)
        return ranges(session, *told)

    ranges = parallel._ranges
    monkeypatch.setattr(parallel, "_ranges", meddling)
    report = verify_live(chain.session, recipe=ALEXANDRIA_V1, key=chain.key)
    assert tried == [statement]
    assert (report.status, report.rows) == (Status.INTACT, len(chain.ids))


def test_a_column_that_went_since_the_table_was_found_is_named(chain: Chain) -> None:
    table = chain.table()
    chain.sql("ALTER TABLE public.audit_logs RENAME agent TO tool")
    with pytest.raises(StatementFailed, match="agent"):
        verify_live(chain.session, recipe=ALEXANDRIA_V1, key=chain.key, table=table)
    again = verify_live(chain.session, recipe=ALEXANDRIA_V1, key=chain.key)
    # The connection serves the next one, which finds the table as it is.
    assert again.rows == len(chain.ids)


@pytest.fixture
def primary(server_folder: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(server_folder / f"{tmp_path.name}-a") as server:
        yield server


def test_rows_that_a_standby_has_not_replayed_are_no_finding(
    primary: EmbeddedServer, server_folder: Path, tmp_path: Path
) -> None:
    key = AuditKey.of(KEY)
    here = Dsn.parse(primary.conninfo("postgres"))
    with connect(here, purpose="test") as session:
        session.execute(
            "CREATE TABLE public.audit_logs (id text PRIMARY KEY, principal text, action text, "
            "agent text, session text, metadata text, tenant_id text, hmac text, prev_hmac text, "
            "created_at timestamptz)"
        )
        session.copy_in(COPY_AUDIT_ROWS, audit_rows(300, seed=1, key=KEY))
        folder = server_folder / f"{tmp_path.name}-b"
        with (
            standby_of(primary, folder, {}) as standby,
            connect(Dsn.parse(standby.conninfo("postgres")), purpose="test") as there,
        ):
            catch_up(primary, standby)
            (old,) = verify_live(session, recipe=ALEXANDRIA_V1, key=key).anchors
            there.execute("SELECT pg_wal_replay_pause()")
            table = discover_table(session)
            assert table is not None
            entry = NewEntry(principal="ada", action="meanwhile")
            append(session, table=table, recipe=ALEXANDRIA_V1, key=KEY, entry=entry)
            (new,) = verify_live(session, recipe=ALEXANDRIA_V1, key=key).anchors
            behind = verify_live(there, recipe=ALEXANDRIA_V1, key=key, anchor=new)
            assert (behind.status, behind.counts, behind.rows) == (Status.UNVERIFIED, {}, 300)
            assert any("standby" in reason for reason in behind.skipped)
            level = verify_live(there, recipe=ALEXANDRIA_V1, key=key, anchor=old)
            assert level.status is Status.VERIFIED
            # Several processes share a snapshot of a standby's as well.
            walker = ChainWalker(table, ALEXANDRIA_V1, key)
            with there.transaction(read_only=True, repeatable_read=True):
                walk_table(there, walker, key, processes=2)
            assert (shared := walker.finish()).status is Status.INTACT
            assert shared.rows == 300
            there.execute("SELECT pg_wal_replay_resume()")
            catch_up(primary, standby)
            assert verify_live(there, recipe=ALEXANDRIA_V1, key=key, anchor=new).rows == 301
