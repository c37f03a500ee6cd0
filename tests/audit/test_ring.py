"""A rotated key: each row belongs to the key that was in use when the row says that it was made."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from alexandria_backup.audit.finding import Code
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.rows import time_of
from alexandria_backup.audit.verify import try_key, verify_live

OLD: Final = bytes(range(32))
NEW: Final = b"the key of the second half: 32 b"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


@pytest.fixture
def rotated(chain: Chain) -> int:
    """Seal the second half with the new key; return when that begins, in microseconds."""
    rows = {row.id.decode(): row for row in chain.rows()}
    previous = bytes.fromhex(rows[chain.ids[19]].hmac.decode())
    for ident in chain.ids[20:]:
        sealed = ALEXANDRIA_V1.compute(NEW, rows[ident].values, previous)
        chain.sql(
            "UPDATE public.audit_logs SET hmac = %s, prev_hmac = %s WHERE id = %s",
            sealed.hex(), previous.hex(), ident,
        )  # fmt: skip
        previous = sealed
    at = time_of(rows[chain.ids[20]])
    assert at is not None
    return at


def ring(at: int | None) -> KeyRing:
    old = AuditKey.of(OLD).in_use("old", None, at)
    return KeyRing((old, AuditKey.of(NEW).in_use("new", at, None)))


def test_each_row_verifies_under_its_key(chain: Chain, rotated: int) -> None:
    report = chain.verify(key=ring(rotated))
    assert (report.status, report.findings) == (Status.INTACT, ())
    assert chain.verify(key=AuditKey.of(OLD)).counts == {Code.ROW_HMAC_MISMATCH: 20}


def test_keys_without_windows_are_tried_in_turn(chain: Chain, rotated: int) -> None:
    assert chain.verify(key=ring(None)).status is Status.INTACT
    fit = try_key(chain.session, recipe=ALEXANDRIA_V1, key=ring(rotated), table=chain.table())
    assert fit.good


def test_an_old_row_under_the_newer_key_fails_and_is_told(chain: Chain, rotated: int) -> None:
    # Whoever has today's key seals a row of yesterday anew, and all that follow.
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[10])
    rows = {row.id.decode(): row for row in chain.rows()}
    previous = bytes.fromhex(rows[chain.ids[9]].hmac.decode())
    for ident in chain.ids[10:]:
        sealed = ALEXANDRIA_V1.compute(NEW, rows[ident].values, previous)
        chain.sql(
            "UPDATE public.audit_logs SET hmac = %s, prev_hmac = %s WHERE id = %s",
            sealed.hex(), previous.hex(), ident,
        )  # fmt: skip
        previous = sealed
    report = chain.verify(key=ring(rotated))
    assert report.counts == {Code.ROW_HMAC_MISMATCH: 10}
    assert {finding.id for finding in report.findings} == set(chain.ids[10:20])
    assert all("verifies only under key `new`" in f.detail for f in report.findings)


def test_a_row_that_says_no_time_fits_no_window(chain: Chain, rotated: int) -> None:
    chain.sql("UPDATE public.audit_logs SET created_at = NULL WHERE id = %s", chain.ids[30])
    report = verify_live(chain.session, recipe=ALEXANDRIA_V1, key=ring(rotated))
    assert report.counts == {Code.ROW_HMAC_MISMATCH: 1}


def test_a_ring_shows_nothing_and_cannot_be_pickled(tmp_path: Path) -> None:
    made = ring(int(timedelta(days=1) / timedelta(microseconds=1)))
    assert "old" not in repr(made)
    with pytest.raises(TypeError):
        made.__reduce__()
    with pytest.raises(ValueError, match="without keys"):
        KeyRing(())
