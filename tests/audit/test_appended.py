"""Rows that were appended since an anchor, read alone: the same anchor, or a look at everything."""

from typing import Any, Final

import pytest

from alexandria_backup.audit.anchor import BLOCK_ROWS
from alexandria_backup.audit.appended import Appended, verify_appended
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.postgres.connect import Session

KEY: Final = bytes(range(32))
OLD: Final = BLOCK_ROWS + 100
NEW: Final = 50
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any


@pytest.fixture
def grown(session: Session, chain: Chain) -> tuple[Chain, Appended]:
    """A chain that was anchored, and has new rows since."""
    session.execute("TRUNCATE public.audit_logs")
    lines = list(audit_rows(OLD + NEW, seed=1, key=KEY))
    chain.ids[:] = [line.split(b"\t")[0].decode() for line in lines]
    session.copy_in(COPY_AUDIT_ROWS, lines[:OLD])
    (anchor,) = chain.verify().anchors
    place = "SELECT max((ctid::text::point)[0])::int FROM public.audit_logs"
    page = session.value(place)
    session.copy_in(COPY_AUDIT_ROWS, lines[OLD:])
    changed = session.value(f"SELECT count(*) FROM public.audit_logs WHERE ctid >= '({page},0)'")
    return chain, Appended(
        anchor=anchor, since="earlier", new_rows=NEW, changed_rows=changed, first_changed_page=page
    )


def verified(grown: tuple[Chain, Appended]) -> AuditReport | None:
    chain, appended = grown
    with chain.session.transaction(read_only=True, repeatable_read=True):
        return verify_appended(
            chain.session,
            table=chain.table(),
            recipe=ALEXANDRIA_V1,
            key=AuditKey.of(KEY),
            appended=appended,
        )


def test_the_anchor_is_that_of_the_whole_chain(grown: tuple[Chain, Appended]) -> None:
    chain, _ = grown
    whole = verify_live(chain.session, recipe=ALEXANDRIA_V1, key=AuditKey.of(KEY))
    report = verified(grown)
    assert report is not None
    assert report.anchors == whole.anchors
    assert (report.status, report.rows) == (Status.INTACT, OLD + NEW)
    assert f"{NEW} new rows verified, {OLD:,} unchanged since `earlier`" in report.notes
    assert any("not read again" in reason for reason in report.skipped)


@pytest.mark.parametrize(
    "place", [-1, OLD, OLD - 1, BLOCK_ROWS + 1], ids=["new", "first new", "anchored", "old, read"]
)
@pytest.mark.parametrize("change", ["UPDATE", "DELETE"])
def test_whatever_is_wrong_with_what_is_read_needs_a_look_at_everything(
    grown: tuple[Chain, Appended], place: int, change: str
) -> None:
    chain, _ = grown
    what = "UPDATE public.audit_logs SET principal = 'eve'"
    what = what if change == "UPDATE" else "DELETE FROM public.audit_logs"
    chain.sql(f"{what} WHERE id = %s", chain.ids[place])
    assert verified(grown) is None


def test_an_old_row_on_a_page_that_changed_needs_a_look_at_everything(
    grown: tuple[Chain, Appended],
) -> None:
    chain, _ = grown
    chain.sql("UPDATE public.audit_logs SET principal = 'eve' WHERE id = %s", chain.ids[3])
    assert verified(grown) is None


def test_another_incarnation_needs_a_look_at_everything(grown: tuple[Chain, Appended]) -> None:
    chain, _ = grown
    chain.sql("CREATE TABLE public.audit_logs_retired (LIKE public.audit_logs)")
    assert verified(grown) is None
