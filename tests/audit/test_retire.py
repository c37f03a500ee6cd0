"""Evidence first; then exactly these rows are moved, all or none, and they stay verifiable."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from alexandria_backup.audit.capture import CaptureFacts, OpenedCapture, open_capture, seal
from alexandria_backup.audit.evidence import collect
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.retire import Retired, plan, retire
from alexandria_backup.errors import (
    AuditUnverified,
    ManifestInvalid,
    PrecheckRefused,
    StatementFailed,
    UsageError,
    WrongKey,
)
from alexandria_backup.sealing.signing import SigningKey

KEY: Final = bytes(range(32))
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


@pytest.fixture
def signing() -> SigningKey:
    return SigningKey.from_seed("evidence.example.org", bytes(32))


@pytest.fixture
def capture(
    chain: Chain, signing: SigningKey, facts_of: Callable[..., CaptureFacts]
) -> Callable[..., bytes]:
    def make(through: str | None = None) -> bytes:
        found = collect(
            chain.session, table=chain.table(), recipe=ALEXANDRIA_V1, key=chain.key, through=through
        )
        return seal(
            facts_of(chain, found),
            rows=found.rows,
            neighbours=found.neighbours,
            report=found.report,
            key=signing,
        )

    return make


def opened(data: bytes, signing: SigningKey) -> OpenedCapture:
    return open_capture(data, (signing.trusted,))


def moved(chain: Chain, capture: OpenedCapture) -> Retired:
    return retire(
        chain.session,
        table=chain.table(),
        recipe=ALEXANDRIA_V1,
        key=KEY,
        capture=capture,
        operator="ada",
        reason="it was edited",
    )


def counted(chain: Chain) -> tuple[int, int]:
    there = chain.session.value("SELECT to_regclass('public.audit_logs_retired') IS NOT NULL")
    retired = chain.session.value("SELECT count(*) FROM public.audit_logs_retired") if there else 0
    return chain.session.value("SELECT count(*) FROM public.audit_logs"), retired


def edit(chain: Chain, *places: int) -> None:
    ids = [chain.ids[place] for place in places]
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = ANY (%s)", ids)


def test_evidence_holds_the_rows_at_fault_byte_for_byte(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    chain.sql("UPDATE public.audit_logs SET metadata = E'a\\tb\\\\\\n\\u00e9' WHERE id = %s",
              chain.ids[10])  # fmt: skip
    found = opened(capture(), signing)
    (row,) = found.rows
    assert (row.id, row.findings) == (chain.ids[10], (Code.ROW_HMAC_MISMATCH,))
    assert row.values["metadata"] == "a\tb\\\né"
    chain.sql("CREATE TABLE public.copy (LIKE public.audit_logs)")
    columns = ", ".join(chain.table().order)
    chain.session.copy_in(
        f"COPY public.copy ({columns}) FROM STDIN", [f"{row.copy_text}\n".encode()]
    )
    same = (
        "SELECT count(*) FROM (SELECT * FROM public.copy INTERSECT SELECT * FROM public.audit_logs)"
    )
    assert chain.session.value(f"{same} AS same") == 1
    assert found.signers == ("evidence.example.org",)


def test_a_capture_edited_by_one_byte_is_refused(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10)
    data = capture()
    for place in (*range(0, len(data), max(len(data) // 400, 1)), len(data) - 1):
        altered = bytearray(data)
        altered[place] ^= 1
        with pytest.raises((ManifestInvalid, WrongKey)):
            opened(bytes(altered), signing)
    for other in (data + b"x", data[:-1], b"", b"PK", data.replace(b"eve", b"bob")):
        with pytest.raises(ManifestInvalid):
            opened(other, signing)
    stranger = SigningKey.from_seed("evidence.example.org", bytes(range(32)))
    with pytest.raises(WrongKey):
        opened(data, stranger)


def test_the_page_tells_a_person_everything_and_runs_nothing(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey, tmp_path: Path
) -> None:
    chain.sql("UPDATE public.audit_logs SET principal = '<script>alert(1)</script>' WHERE id = %s",
              chain.ids[10])  # fmt: skip
    data = capture()
    page = data[data.index(b"<!doctype html>") : data.index(b"</html>")].decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert all(word in page for word in (chain.ids[10], chain.ids[9], "broken", "because", "ada"))
    assert "src=" not in page
    assert "http" not in page


def test_retired_rows_are_no_fault_any_more_and_stay_in_the_chain(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10, 20)
    assert chain.verify().status is Status.BROKEN
    done = moved(chain, opened(capture(), signing))
    assert counted(chain) == (39, 2)
    report = chain.verify()
    assert (report.status, report.rows) == (Status.INTACT, 41)
    assert {finding.id for finding in report.known} == {chain.ids[10], chain.ids[20]}
    action, metadata = chain.session.one(
        "SELECT action, metadata FROM public.audit_logs WHERE id = %s", (done.entry,)
    )
    assert action == "audit.retired"
    assert json.loads(metadata)["capture"] == done.capture
    # Whatever is done to them later is seen as before.
    chain.sql("UPDATE public.audit_logs_retired SET action = 'x' WHERE id = %s", chain.ids[10])
    assert chain.verify().counts == {Code.ROW_HMAC_MISMATCH: 2}


def test_a_forged_row_is_retired_and_the_chain_has_an_anchor_again(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    (before,) = chain.verify().anchors
    for number, place in enumerate((10, 39)):
        chain.sql(
            "INSERT INTO public.audit_logs SELECT %s, principal, action, agent, session,"
            " metadata, tenant_id, repeat('ab', 31) || %s, hmac, created_at"
            " FROM public.audit_logs WHERE id = %s",
            f"01A{number}", f"0{number}", chain.ids[place],
        )  # fmt: skip
    assert chain.verify().status is Status.BROKEN
    moved(chain, opened(capture(), signing))
    report = chain.verify(anchor=before)
    assert (report.status, report.findings) == (Status.VERIFIED, ())
    assert report.anchors[0].count == 41


def test_the_head_of_a_chain_is_retired_and_said_to_be(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    (before,) = chain.verify().anchors
    moved(chain, opened(capture(chain.ids[14]), signing))
    assert counted(chain) == (26, 15)
    report = chain.verify(anchor=before)
    assert (report.status, report.rows) == (Status.VERIFIED, 41)
    # Where the retired rows are gone for good, the record is left.
    chain.sql("DELETE FROM public.audit_logs_retired")
    report = chain.verify(anchor=before)
    assert report.status is Status.VERIFIED
    assert [finding.code for finding in report.known] == [Code.HEAD_RETIRED]
    chain.sql("DROP SCHEMA alexandria_backup CASCADE")
    assert chain.verify().counts == {Code.HEAD_MISSING: 1}


def test_a_record_without_the_key_excuses_nothing(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10)
    done = moved(chain, opened(capture(), signing))
    edit(chain, 20)
    columns = ", ".join(chain.table().order)
    chain.sql(
        f"INSERT INTO public.audit_logs_retired SELECT {columns}, now(), 'eve', 'x', %s"
        " FROM public.audit_logs WHERE id = %s",
        done.capture, chain.ids[20],
    )  # fmt: skip
    chain.sql("DELETE FROM public.audit_logs WHERE id = %s", chain.ids[20])
    assert chain.verify().counts == {Code.ROW_HMAC_MISMATCH: 2}


def test_a_clone_of_a_retired_row_is_not_excused(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10)
    moved(chain, opened(capture(), signing))
    columns = ", ".join(chain.table().order)
    chain.sql(f"INSERT INTO public.audit_logs SELECT {columns} FROM public.audit_logs_retired")
    assert chain.verify().status is Status.BROKEN


def test_a_capture_of_other_rows_moves_nothing(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10, 20)
    made = opened(capture(), signing)
    chain.sql("UPDATE public.audit_logs SET action = 'again' WHERE id = %s", chain.ids[20])
    with pytest.raises(PrecheckRefused, match=r"other rows: 0 of 2 are gone and 1 have changed"):
        moved(chain, made)
    chain.sql("DELETE FROM public.audit_logs WHERE id = %s", chain.ids[10])
    with pytest.raises(PrecheckRefused, match=r"1 of 2 are gone"):
        moved(chain, made)
    assert counted(chain) == (39, 0)


def test_nothing_is_moved_unless_all_of_it_is(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10, 20)
    made = opened(capture(), signing)
    chain.sql(
        "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF old.id = tg_argv[0] THEN RETURN NULL; END IF; RETURN old; END $$"
    )
    chain.sql(
        "CREATE TRIGGER keep BEFORE DELETE ON public.audit_logs FOR EACH ROW "
        f"EXECUTE FUNCTION public.keep('{chain.ids[20]}')"
    )
    with pytest.raises(PrecheckRefused, match="2 rows would be moved and 1 removed"):
        moved(chain, made)
    chain.sql(
        "CREATE OR REPLACE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'append only'; END $$"
    )
    with pytest.raises(StatementFailed, match="append only"):
        moved(chain, made)
    assert counted(chain) == (40, 0)
    assert chain.session.value("SELECT to_regclass('alexandria_backup.retirements')") is None


def test_a_capture_of_another_database_or_table_is_refused(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10)
    made = opened(capture(), signing)
    chain.sql("ALTER TABLE public.audit_logs RENAME TO audit_log")
    with pytest.raises(PrecheckRefused, match=r"capture is of `public\.audit_logs`"):
        moved(chain, made)


def test_a_plan_names_the_statements(
    chain: Chain, capture: Callable[..., bytes], signing: SigningKey
) -> None:
    edit(chain, 10)
    planned = plan(chain.table(), opened(capture(), signing))
    assert (planned.rows, planned.entry) == (1, None)
    assert [text.split()[0] for text in planned.statements] == ["CREATE", "INSERT", "DELETE"]
    assert counted(chain) == (40, 0)


def test_what_cannot_be_captured_says_why(chain: Chain, capture: Callable[..., bytes]) -> None:
    with pytest.raises(AuditUnverified, match="nothing to capture: intact"):
        capture()
    with pytest.raises(UsageError, match="not the head of one chain"):
        capture("01ZZ")
    edit(chain, 3)
    with pytest.raises(AuditUnverified, match="head of a good chain"):
        capture(chain.ids[10])
