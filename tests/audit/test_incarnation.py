"""Anchors of several days, and the ways back that restores declare."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import pytest

from alexandria_backup.audit.anchor import BLOCK_ROWS, Anchor, Rolling
from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.incarnation import Incarnation, Incarnations, declare, incarnations
from alexandria_backup.audit.live_rows import live_lines
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.rows import RowReader
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.audit.writer import NewEntry, append

KEY: Final = bytes(range(32))
AT: Final = datetime(2026, 11, 23, tzinfo=UTC)
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


def verified(chain: Chain, *anchors: Anchor) -> AuditReport:
    return verify_live(chain.session, recipe=ALEXANDRIA_V1, key=chain.key, anchors=anchors)


def anchored(chain: Chain) -> Anchor:
    (anchor,) = verified(chain).anchors
    return anchor


def grow(chain: Chain, rows: int) -> None:
    for number in range(rows):
        append(
            chain.session,
            table=chain.table(),
            recipe=ALEXANDRIA_V1,
            key=KEY,
            entry=NewEntry(principal="ada", action=f"later {number}"),
        )


def back_to(chain: Chain, rows: int) -> None:
    """Go back to an earlier state, as a restore of an older dump does."""
    chain.sql("DELETE FROM public.audit_logs WHERE id > %s", chain.ids[rows - 1])


def test_all_anchors_are_compared(chain: Chain) -> None:
    first = anchored(chain)
    grow(chain, 3)
    second = anchored(chain)
    report = verified(chain, second, first)
    assert (report.status, report.skipped) == (Status.VERIFIED, ())
    back_to(chain, 40)
    report = verified(chain, first, second)
    assert report.counts == {Code.BEHIND_ANCHOR: 1}
    assert report.findings[0].position == 43


def test_an_anchor_of_the_first_release_still_fits(chain: Chain) -> None:
    table = chain.table()
    reader = RowReader(table, ALEXANDRIA_V1)
    lines = live_lines(chain.session, table)
    digests = [sha256(reader.canonical(line)).digest() for line in lines]
    made = anchored(chain)
    old = Anchor(
        chain="", count=40, first_id=made.first_id, first_hmac=made.first_hmac,
        last_id=made.last_id, last_hmac=made.last_hmac,
        rolling=sha256(b"".join(digests)).hexdigest(),
    )  # fmt: skip
    assert verified(chain, old).status is Status.VERIFIED


def test_another_way_that_nobody_declared_is_a_fork(chain: Chain) -> None:
    back = anchored(chain)
    grow(chain, 3)
    then = anchored(chain)
    back_to(chain, 40)
    grow(chain, 5)
    report = verified(chain, back, then)
    assert report.counts == {Code.FORK: 1}
    assert (report.findings[0].before, report.findings[0].position) == (chain.ids[-1], 43)
    # With no older anchor nobody can say where the ways part.
    assert verified(chain, then).counts == {Code.ANCHOR_MISMATCH: 1}


def test_a_declared_restore_is_a_new_incarnation(chain: Chain) -> None:
    back = anchored(chain)
    grow(chain, 3)
    then = anchored(chain)
    back_to(chain, 40)
    declare(chain.session, run="restore-1", source="snapshot-1", rows={"": 40})
    declare(chain.session, run="restore-1", source="snapshot-1", rows={"": 40})
    report = verified(chain, back, then)
    assert report.status is Status.VERIFIED
    assert any("`restore-1`" in note and "43 rows" in note for note in report.notes)
    grow(chain, 5)
    now = anchored(chain)
    assert now.incarnation == "restore-1"
    assert verified(chain, back, then, now).status is Status.VERIFIED
    # What was kept must be there all the same.
    back_to(chain, 39)
    assert verified(chain, back).counts == {Code.BEHIND_ANCHOR: 1}


def test_a_database_that_lost_its_own_incarnation_has_forked(chain: Chain) -> None:
    chain.sql("CREATE SCHEMA kept; CREATE TABLE kept.a AS SELECT * FROM public.audit_logs")
    declare(chain.session, run="restore-1", source="snapshot-1", rows={"": 40})
    grow(chain, 3)
    then = anchored(chain)
    chain.sql("DROP SCHEMA alexandria_backup CASCADE")
    back_to(chain, 40)
    grow(chain, 4)
    assert verified(chain, then).counts == {Code.FORK: 1}


def test_a_way_back_makes_its_own_anchors_of_another_incarnation() -> None:
    def one(ident: str, parent: str | None, rows: dict[str, int] | None) -> Incarnation:
        return Incarnation(id=ident, parent=parent, at=AT, source="s", rows=rows)

    # A restore kept 40 rows; a rollback went back to what it had replaced, with all its rows.
    restored, rolled = one("r1", None, {"": 40}), one("b1", None, None)
    after = Incarnations((restored, rolled))
    assert after.current == "b1"
    assert after.kept(None, "") is None
    assert after.kept("r1", "") == (restored, 40)
    assert after.kept("unknown", "") is None
    assert not after.knows("unknown")
    again = one("r2", "b1", {"a": 7})
    later = Incarnations((restored, rolled, again))
    assert later.kept("b1", "a") == (again, 7)
    assert later.kept("b1", "b") == (again, 0)
    assert later.kept("r2", "a") is None


def test_incarnations_come_from_the_database_in_order(chain: Chain) -> None:
    assert incarnations(chain.session).current is None
    others = [Incarnation(id="x", parent=None, at=AT, source="s", rows={"": 3, "t": 4})]
    declare(chain.session, run="b1", source="kept", rows=None, others=others)
    found = incarnations(chain.session)
    assert [one.id for one in found.incarnations] == ["x", "b1"]
    assert found.incarnations[0].rows == {"": 3, "t": 4}
    assert found.incarnations[1].rows is None


@pytest.mark.parametrize("count", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 5])
def test_a_digest_goes_on_from_its_last_full_block(count: int) -> None:
    digests = [number.to_bytes(32, "big") for number in range(count + 10)]
    whole = Rolling()
    whole.update(b"".join(digests[:count]))
    full = count // BLOCK_ROWS * BLOCK_ROWS
    resumed = Rolling(whole.settled, full)
    resumed.update(b"".join(digests[full:count]))
    assert resumed.hexdigest() == whole.hexdigest()
    for digest in digests[count:]:
        whole.update(digest)
        resumed.update(digest)
    assert resumed.hexdigest() == whole.hexdigest()
