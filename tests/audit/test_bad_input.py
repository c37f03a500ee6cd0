"""What is not as it should be: each has its own words, and none is taken for proof."""

import threading
from dataclasses import replace
from typing import Any, Final

import pytest

from alexandria_backup.audit.comparing import compare
from alexandria_backup.audit.discovery import discover_table, look_alikes
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import ALEXANDRIA_V1, Role
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.verify import verify_live, verify_rows
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.errors import ExitCode
from alexandria_backup.events import Event
from alexandria_backup.postgres.connect import connect

KEY: Final = bytes(range(32))
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


def verified(chain: Chain, **given: Any) -> AuditReport:
    settings = {"recipe": ALEXANDRIA_V1, "key": chain.key, **given}
    return verify_live(chain.session, **settings)


def test_half_migrated_columns_are_told_and_prove_nothing(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs ADD COLUMN prev_hash text")
    report = verified(chain)
    assert (report.status, report.exit_code) == (Status.UNVERIFIED, ExitCode.AUDIT_UNVERIFIED)
    assert any("both `prev_hmac` and `prev_hash`" in reason for reason in report.skipped)
    own = {Role.PREV_HMAC: "prev_hmac"}
    table = discover_table(chain.session, own=own)
    assert verified(chain, table=table).status is Status.INTACT


def test_a_recipe_that_names_a_missing_column_says_which(chain: Chain) -> None:
    recipe = replace(ALEXANDRIA_V1, fields=(*ALEXANDRIA_V1.fields, "region"))
    report = verified(chain, recipe=recipe)
    assert report.status is Status.LINKS_ONLY
    assert any("no column for `region`" in reason for reason in report.skipped)


def test_other_names_of_columns_can_be_set(chain: Chain) -> None:
    chain.sql("ALTER TABLE public.audit_logs RENAME principal TO actor")
    assert verified(chain).status is Status.LINKS_ONLY
    table = discover_table(chain.session, own={Role.PRINCIPAL: "actor"})
    assert verified(chain, table=table).status is Status.INTACT


@pytest.mark.parametrize("output", [Output.BASE64, Output.BYTEA, Output.HEX_UPPER])
def test_hmacs_written_in_another_way_are_no_tampering(chain: Chain, output: Output) -> None:
    report = verified(chain, recipe=replace(ALEXANDRIA_V1, output=output))
    assert report.status is Status.UNVERIFIED
    assert report.counts == {Code.KEY_OR_ENCODING: 1}


def test_one_hmac_that_is_none_is_shown(chain: Chain) -> None:
    chain.sql("UPDATE public.audit_logs SET hmac = 'no hex at all' WHERE id = %s", chain.ids[5])
    report = verified(chain)
    assert report.counts[Code.ROW_HMAC_MISMATCH] == 1
    assert "no HMAC in hex: `no hex at all`" in report.findings[0].describe()


def test_a_table_of_another_name_is_offered(chain: Chain) -> None:
    chain.sql("CREATE TABLE public.blocks (id text, hash text, prev_hash text)")
    chain.sql("CREATE TABLE public.users (id text, hash text)")
    assert look_alikes(chain.session) == ("public.blocks",)


@pytest.mark.parametrize("size", [5_000_000, pytest.param(100_000_000, marks=pytest.mark.campaign)])
def test_megabytes_in_one_row(chain: Chain, size: int) -> None:
    entry = NewEntry(principal="ada", action="upload", metadata="x" * size)
    append(chain.session, table=chain.table(), recipe=ALEXANDRIA_V1, key=KEY, entry=entry)
    assert verified(chain).status is Status.INTACT
    chain.sql("UPDATE public.audit_logs SET metadata = metadata || 'y' WHERE action = 'upload'")
    assert verified(chain).counts == {Code.ROW_HMAC_MISMATCH: 1}


def test_all_findings_are_counted_and_few_are_listed(lines: list[bytes], table: Any) -> None:
    edited = [line.replace(b"user", b"eve_") for line in lines[1:]] * 500
    report = verify_rows(
        [lines[0], *edited], table, recipe=ALEXANDRIA_V1, key=AuditKey.of(KEY), limit=7
    )
    assert report.counts[Code.ROW_HMAC_MISMATCH] == len(edited)
    assert len(report.findings) == 7


def test_rows_written_while_it_is_read_are_not_half_seen(chain: Chain) -> None:
    stop, table = threading.Event(), chain.table()

    def write() -> None:
        with connect(chain.session.dsn, purpose="test") as own:
            while not stop.is_set():
                entry = NewEntry(principal="ada", action="meanwhile")
                append(own, table=table, recipe=ALEXANDRIA_V1, key=KEY, entry=entry)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        reports = [verified(chain, table=table) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    assert {report.status for report in reports} == {Status.INTACT}


def test_rows_moved_between_tenants_are_seen(chain: Chain) -> None:
    recipe = replace(ALEXANDRIA_V1, per_tenant=True)
    chain.sql("TRUNCATE public.audit_logs")
    for number in range(12):
        entry = NewEntry(principal="ada", action=f"a{number}", tenant_id="ab"[number % 2])
        append(chain.session, table=chain.table(), recipe=recipe, key=KEY, entry=entry)
    report = verified(chain, recipe=recipe)
    assert (report.status, report.chains) == (Status.INTACT, 2)
    assert [anchor.chain for anchor in report.anchors] == ["a", "b"]
    assert verified(chain, recipe=recipe, anchors=report.anchors).status is Status.VERIFIED
    chain.sql("UPDATE public.audit_logs SET tenant_id = 'b' WHERE action = 'a4'")
    moved = verified(chain, recipe=recipe)
    assert moved.status is Status.BROKEN
    assert moved.counts[Code.ROW_HMAC_MISMATCH] == 1
    assert moved.counts[Code.LINK_BROKEN] == 2
    # A tenant whose rows are all gone is missed by its anchor alone.
    chain.sql("DELETE FROM public.audit_logs WHERE tenant_id = 'b'")
    gone = verified(chain, recipe=recipe, anchors=report.anchors)
    assert gone.counts[Code.BEHIND_ANCHOR] == 1


def test_a_wrong_key_is_told_before_all_rows_are_read(chain: Chain) -> None:
    told: list[Event] = []
    wrong = AuditKey.of(b"another key of 32 bytes, or more")
    report = verify_live(chain.session, recipe=ALEXANDRIA_V1, key=wrong, emit=told.append)
    assert report.counts == {Code.KEY_OR_ENCODING: 1}
    assert any("fits none of" in str(event) for event in told)


def test_a_standby_that_lags_is_no_finding_and_no_proof(chain: Chain) -> None:
    (anchor,) = verified(chain).anchors
    behind = compare([anchor], None, ALEXANDRIA_V1, lagging=True)
    assert behind.findings == []
    assert behind.fitting == 0
    assert "standby" in behind.skipped[0]
