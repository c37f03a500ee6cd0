"""Every attack that HMACs, links or an anchor can see is made with SQL, and gets its verdict."""

import hmac
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.verify import verify_live, verify_rows
from alexandria_backup.errors import ExitCode

#: What the fixtures seal with.
KEY: Final = bytes(range(32))
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


def only(report: AuditReport, code: Code, row: str) -> None:
    assert report.counts == {code: 1}, report.findings
    assert [finding.id for finding in report.findings] == [row]
    assert report.status is Status.BROKEN
    assert report.exit_code is ExitCode.AUDIT_BROKEN


def resealed(chain: Chain, key: bytes, start: int) -> None:
    """Seal all rows from `start` on again, as somebody who has the key would."""
    rows = {row.id.decode(): row for row in chain.rows()}
    previous = bytes.fromhex((rows[chain.ids[start - 1]].hmac or b"").decode())
    for ident in chain.ids[start:]:
        if ident not in rows:
            continue
        sealed = ALEXANDRIA_V1.compute(key, rows[ident].values, previous)
        chain.sql(
            "UPDATE public.audit_logs SET hmac = %s, prev_hmac = %s WHERE id = %s",
            sealed.hex(),
            previous.hex(),
            ident,
        )
        previous = sealed


def test_a_good_chain_is_intact_and_with_an_anchor_verified(chain: Chain) -> None:
    report = chain.verify()
    assert (report.status, report.exit_code) == (Status.INTACT, ExitCode.DONE)
    assert report.rows == len(chain.ids)
    assert report.findings == ()
    assert any("anchor" in reason for reason in report.skipped)
    (anchor,) = report.anchors
    assert (anchor.count, anchor.first_id) == (len(chain.ids), chain.ids[0])
    assert anchor.last_id == chain.ids[-1]
    assert chain.verify(anchor=anchor).status is Status.VERIFIED
    assert chain.verify(anchor=anchor).skipped == ()


@pytest.mark.parametrize(
    "change",
    [
        "principal = 'eve'",
        "action = action || ' '",
        "agent = NULL",
        "session = ''",
        "metadata = metadata || '\n'",
        "tenant_id = 'other'",
        "created_at = created_at + interval '1 microsecond'",
    ],
)
def test_a_row_edited_without_the_key_is_named(chain: Chain, change: str) -> None:
    # Every fifth row has no agent, the eighth has one.
    chain.sql(f"UPDATE public.audit_logs SET {change} WHERE id = %s", chain.ids[8])
    report = chain.verify()
    only(report, Code.ROW_HMAC_MISMATCH, chain.ids[8])
    finding = report.findings[0]
    assert finding.position == 9
    assert (finding.before, finding.after) == (chain.ids[7], chain.ids[9])
    assert chain.ids[8] in finding.describe()


def test_an_edited_row_that_stays_in_its_place_has_both_neighbours_named(
    chain: Chain, lines: list[bytes], table: AuditTable
) -> None:
    lines[8] = lines[8].replace(b"user", b"eve_")
    report = verify_rows(lines, table, recipe=ALEXANDRIA_V1, key=chain.key)
    only(report, Code.ROW_HMAC_MISMATCH, chain.ids[8])
    assert (report.findings[0].before, report.findings[0].after) == (chain.ids[7], chain.ids[9])
    assert chain.ids[8] in report.findings[0].describe()


def test_the_first_row_edited_is_not_taken_for_a_wrong_key(chain: Chain) -> None:
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[0])
    only(chain.verify(), Code.ROW_HMAC_MISMATCH, chain.ids[0])


def test_a_row_edited_with_the_key_is_seen_by_the_anchor_only(chain: Chain) -> None:
    (anchor,) = chain.verify().anchors
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[20])
    resealed(chain, KEY, 20)
    assert chain.verify().status is Status.INTACT
    report = chain.verify(anchor=anchor)
    only(report, Code.ANCHOR_MISMATCH, chain.ids[-1])
    assert (report.findings[0].before, report.findings[0].after) == (None, None)


def test_without_the_key_an_anchor_sees_an_edited_row(chain: Chain) -> None:
    (anchor,) = chain.verify().anchors
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[20])
    assert chain.verify(keyless=True).status is Status.LINKS_ONLY
    only(chain.verify(keyless=True, anchor=anchor), Code.ANCHOR_MISMATCH, chain.ids[-1])


def test_a_middle_row_deleted(chain: Chain) -> None:
    (anchor,) = chain.verify().anchors
    chain.sql("DELETE FROM public.audit_logs WHERE id = %s", chain.ids[10])
    for report in (chain.verify(), chain.verify(keyless=True), chain.verify(anchor=anchor)):
        only(report, Code.LINK_BROKEN, chain.ids[11])
        assert report.findings[0].before == chain.ids[9]
        assert report.anchors == ()


def test_two_gaps_are_two_findings(chain: Chain) -> None:
    chain.sql("DELETE FROM public.audit_logs WHERE id = ANY (%s)", [chain.ids[10], chain.ids[20]])
    report = chain.verify()
    assert report.counts == {Code.LINK_BROKEN: 2}
    assert {(f.before, f.id) for f in report.findings} == {
        (chain.ids[9], chain.ids[11]),
        (chain.ids[19], chain.ids[21]),
    }


def test_the_tail_deleted_is_seen_by_the_anchor_only(chain: Chain) -> None:
    (anchor,) = chain.verify().anchors
    chain.sql("DELETE FROM public.audit_logs WHERE id = ANY (%s)", chain.ids[-3:])
    assert chain.verify().status is Status.INTACT
    only(chain.verify(anchor=anchor), Code.BEHIND_ANCHOR, chain.ids[-1])


def test_the_table_emptied(chain: Chain) -> None:
    (anchor,) = chain.verify().anchors
    chain.sql("TRUNCATE public.audit_logs")
    assert chain.verify().status is Status.EMPTY
    only(chain.verify(anchor=anchor), Code.BEHIND_ANCHOR, chain.ids[-1])
    chain.sql("DROP TABLE public.audit_logs")
    assert chain.verify().status is Status.ABSENT
    only(chain.verify(anchor=anchor), Code.BEHIND_ANCHOR, chain.ids[-1])


def test_the_tail_written_again_with_the_key(chain: Chain) -> None:
    (anchor,) = chain.verify().anchors
    chain.sql("UPDATE public.audit_logs SET action = 'nothing' WHERE id = %s", chain.ids[-1])
    resealed(chain, KEY, len(chain.ids) - 1)
    assert chain.verify().status is Status.INTACT
    only(chain.verify(anchor=anchor), Code.ANCHOR_MISMATCH, chain.ids[-1])


def test_a_chain_that_went_on_still_has_its_anchor(chain: Chain) -> None:
    removed = chain.ids[-5:]
    chain.sql("CREATE TABLE public.kept AS SELECT * FROM public.audit_logs")
    chain.sql("DELETE FROM public.audit_logs WHERE id = ANY (%s)", removed)
    (anchor,) = chain.verify().anchors
    chain.sql(
        "INSERT INTO public.audit_logs SELECT * FROM public.kept WHERE id = ANY (%s)", removed
    )
    report = chain.verify(anchor=anchor)
    assert report.status is Status.VERIFIED
    assert report.anchors[0].count == anchor.count + 5


def test_the_head_deleted(chain: Chain) -> None:
    (anchor,) = chain.verify().anchors
    chain.sql("DELETE FROM public.audit_logs WHERE id = ANY (%s)", chain.ids[:2])
    only(chain.verify(), Code.HEAD_MISSING, chain.ids[2])
    report = chain.verify(anchor=anchor)
    only(report, Code.HEAD_MISSING, chain.ids[2])
    assert "anchor: the links break before the row that it names" in report.skipped


def test_the_contents_of_two_rows_swapped(chain: Chain) -> None:
    one, other = chain.ids[10], chain.ids[12]
    for old, new in ((one, "x"), (other, one), ("x", other)):
        chain.sql("UPDATE public.audit_logs SET id = %s WHERE id = %s", new, old)
    report = chain.verify()
    assert report.counts == {Code.ROW_HMAC_MISMATCH: 2}
    assert {finding.id for finding in report.findings} == {one, other}


@pytest.mark.parametrize("place", [0, 10, -1], ids=["first", "middle", "last"])
def test_a_row_copied_under_another_id(chain: Chain, place: int) -> None:
    chain.sql(
        "INSERT INTO public.audit_logs SELECT 'copy', principal, action, agent, session, metadata,"
        " tenant_id, hmac, prev_hmac, created_at FROM public.audit_logs WHERE id = %s",
        chain.ids[place],
    )
    report = chain.verify()
    assert report.counts == {Code.ROW_HMAC_MISMATCH: 1, Code.DUPLICATE_LINK: 1}
    assert {finding.id for finding in report.findings} == {"copy"}
    assert chain.verify(keyless=True).counts == {Code.DUPLICATE_LINK: 1}


@pytest.mark.parametrize("place", [0, 10, -2], ids=["first", "middle", "last"])
def test_a_row_forged_into_the_middle_without_the_key(chain: Chain, place: int) -> None:
    chain.sql(
        "INSERT INTO public.audit_logs SELECT 'forged', principal, action, agent, session,"
        " metadata, tenant_id, repeat('ab', 32), hmac, created_at"
        " FROM public.audit_logs WHERE id = %s",
        chain.ids[place],
    )
    report = chain.verify()
    assert report.counts == {Code.ROW_HMAC_MISMATCH: 1, Code.BRANCH: 1}
    assert {finding.id for finding in report.findings} == {"forged"}
    (branch,) = [finding for finding in report.findings if finding.code is Code.BRANCH]
    assert branch.before == chain.ids[place]
    assert chain.verify(keyless=True).counts == {Code.BRANCH: 1}


def test_a_forged_tail_row(chain: Chain) -> None:
    chain.sql(
        "INSERT INTO public.audit_logs SELECT 'forged', principal, action, agent, session,"
        " metadata, tenant_id, repeat('ab', 32), hmac, created_at"
        " FROM public.audit_logs WHERE id = %s",
        chain.ids[-1],
    )
    only(chain.verify(), Code.ROW_HMAC_MISMATCH, "forged")
    report = chain.verify(keyless=True)
    assert (report.status, report.exit_code) == (Status.LINKS_ONLY, ExitCode.AUDIT_UNVERIFIED)
    assert any("cannot be told" in note for note in report.notes)


def test_two_writers_used_the_same_predecessor(chain: Chain) -> None:
    key = KEY
    row = next(row for row in chain.rows() if row.id.decode() == chain.ids[10])
    values = [b"second", *row.values[1:]]
    sealed = ALEXANDRIA_V1.compute(key, values, bytes.fromhex((row.prev_hmac or b"").decode()))
    chain.sql(
        "INSERT INTO public.audit_logs SELECT 'second', principal, action, agent, session,"
        " metadata, tenant_id, %s, prev_hmac, created_at FROM public.audit_logs WHERE id = %s",
        sealed.hex(),
        chain.ids[10],
    )
    only(chain.verify(), Code.BRANCH_VALID_HMAC, "second")


def test_hmacs_stripped(chain: Chain) -> None:
    chain.sql("UPDATE public.audit_logs SET hmac = NULL WHERE id = %s", chain.ids[10])
    report = chain.verify()
    assert report.counts == {Code.HMAC_STRIPPED: 1, Code.LINK_BROKEN: 1}
    assert {f.id for f in report.findings} == {chain.ids[10], chain.ids[11]}
    chain.sql("UPDATE public.audit_logs SET prev_hmac = NULL WHERE id = %s", chain.ids[10])
    assert chain.verify().counts == {Code.HMAC_STRIPPED: 1, Code.LINK_BROKEN: 1}


def test_a_stripped_last_row_is_seen(chain: Chain) -> None:
    chain.sql(
        "UPDATE public.audit_logs SET hmac = NULL, prev_hmac = NULL WHERE id = %s", chain.ids[-1]
    )
    only(chain.verify(), Code.HMAC_STRIPPED, chain.ids[-1])


def test_rows_older_than_the_chain_need_no_hmac(chain: Chain) -> None:
    chain.sql(
        "INSERT INTO public.audit_logs (id, created_at) "
        "SELECT 'old ' || n, '2020-01-01'::timestamptz + n * interval '1 s' "
        "FROM generate_series(1, 300) AS n"
    )
    report = chain.verify()
    assert report.status is Status.INTACT
    assert any("carry no HMAC: 300" in reason for reason in report.skipped)


def test_rows_without_any_hmac_are_not_verified(chain: Chain) -> None:
    chain.sql("UPDATE public.audit_logs SET hmac = NULL, prev_hmac = NULL")
    report = chain.verify()
    assert (report.status, report.exit_code) == (Status.UNVERIFIED, ExitCode.AUDIT_UNVERIFIED)


def test_a_hmac_that_is_none(chain: Chain) -> None:
    chain.sql("UPDATE public.audit_logs SET hmac = 'x' WHERE id = %s", chain.ids[10])
    report = chain.verify()
    assert report.counts == {Code.ROW_HMAC_MISMATCH: 1, Code.LINK_BROKEN: 1}


def test_a_wrong_key_is_not_tampering(chain: Chain) -> None:
    report = chain.verify(key=AuditKey.of(b"another key of 32 bytes, or more"))
    assert report.counts == {Code.KEY_OR_ENCODING: 1}
    assert (report.status, report.exit_code) == (Status.UNVERIFIED, ExitCode.AUDIT_UNVERIFIED)


def test_a_wrong_key_does_not_hide_a_broken_link(chain: Chain) -> None:
    chain.sql("DELETE FROM public.audit_logs WHERE id = %s", chain.ids[10])
    report = chain.verify(key=AuditKey.of(b"another key of 32 bytes, or more"))
    assert report.counts == {Code.KEY_OR_ENCODING: 1, Code.LINK_BROKEN: 1}
    assert report.exit_code is ExitCode.AUDIT_BROKEN


def test_links_in_a_loop(chain: Chain) -> None:
    chain.sql(
        "UPDATE public.audit_logs AS a SET prev_hmac = b.hmac FROM public.audit_logs AS b "
        "WHERE a.id = %s AND b.id = %s",
        chain.ids[20],
        chain.ids[30],
    )
    report = chain.verify(keyless=True)
    assert report.exit_code is ExitCode.AUDIT_BROKEN
    assert Code.LINK_BROKEN in report.counts


def test_all_are_counted_and_the_listing_is_cut(chain: Chain) -> None:
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id <> %s", chain.ids[0])
    report = verify_live(chain.session, recipe=ALEXANDRIA_V1, key=chain.key, limit=5)
    assert report.counts == {Code.ROW_HMAC_MISMATCH: len(chain.ids) - 1}
    assert len(report.findings) == 5


def test_the_encoding_of_the_key_is_found_by_a_row(chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    for text in (KEY.hex() + "\n", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"):
        path.write_text(text)
        assert chain.verify(key=AuditKey.load(path)).status is Status.INTACT


def test_the_stand_in_seals_as_the_standard_library_does(chain: Chain) -> None:
    row = next(chain.rows())
    message = ALEXANDRIA_V1.message(row.values, bytes(32))
    assert hmac.new(KEY, message, sha256).hexdigest().encode() == row.hmac
