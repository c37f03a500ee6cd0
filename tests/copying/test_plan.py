"""How tables are cut into frames."""

from dataclasses import replace

import pytest

from alexandria_backup.copying.plan import USUAL, plan_tables
from alexandria_backup.postgres.framing import Framable
from alexandria_backup.postgres.page_ranges import PageRange
from alexandria_backup.repository.manifest_parts import FramedPart

BLOCK = 8192
MIB = 1024 * 1024
TABLE = Framable(
    oid=1,
    schema="public",
    name="t",
    columns=("a",),
    copy_statement="COPY public.t (a) FROM stdin;\n",
    heap_bytes=100 * MIB,
    toast_bytes=0,
    by_pages=True,
    types=(),
    traits={},
)


def framed(pages: int) -> FramedPart:
    return FramedPart(oid=1, copy_statement="", frame_pages=pages, fingerprint=None, frames=())


def planned(table: Framable, before: FramedPart | None = None) -> tuple[PageRange, ...]:
    plans = plan_tables(
        [table], block_size=BLOCK, before={1: before} if before else {}, framing=USUAL
    )
    return plans[0].ranges if plans else ()


@pytest.mark.parametrize(
    ("mebibytes", "pages"),
    [(2, 64), (1024, 64), (1025, 128), (4096, 256), (8200, 512), (10**6, 512)],
)
def test_frames_are_small_until_there_would_be_too_many(mebibytes: int, pages: int) -> None:
    ranges = planned(replace(TABLE, heap_bytes=mebibytes * MIB))
    assert ranges[0] == PageRange(first=0, end=pages)
    assert len(ranges) == -(-mebibytes * 128 // pages)


def test_page_ranges_follow_each_other_without_gaps_and_cover_the_table() -> None:
    ranges = planned(replace(TABLE, heap_bytes=TABLE.heap_bytes + 1))
    assert [r.first for r in ranges[1:]] == [r.end for r in ranges[:-1]]
    end = ranges[-1].end
    assert end is not None
    assert end * BLOCK > TABLE.heap_bytes


def test_frames_have_fewer_pages_where_rows_live_in_toast() -> None:
    ranges = planned(replace(TABLE, heap_bytes=MIB, toast_bytes=1000 * MIB))
    assert len(ranges) > 60


def test_a_table_whose_every_page_holds_huge_rows_still_has_frames_of_a_page() -> None:
    ranges = planned(replace(TABLE, heap_bytes=BLOCK * 3, toast_bytes=3000 * MIB))
    assert ranges == tuple(PageRange(first=n, end=n + 1) for n in range(3))


def test_small_tables_are_not_framed() -> None:
    assert planned(replace(TABLE, heap_bytes=MIB)) == ()


def test_a_table_without_page_ranges_is_one_frame() -> None:
    assert planned(replace(TABLE, by_pages=False)) == (PageRange(first=0, end=None),)


@pytest.mark.parametrize(
    ("pages", "kept"), [(512, True), (300, True), (16, True), (8, False), (4096, False)]
)
def test_the_grid_of_before_is_kept_while_it_is_good_enough(pages: int, kept: bool) -> None:
    end = planned(TABLE, framed(pages))[0].end
    assert end == (pages if kept else 64)
