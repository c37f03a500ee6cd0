"""Each condition of taking over is needed, and each refusal is told."""

from dataclasses import replace

import pytest

from alexandria_backup.copying.takeover import (
    Now,
    Reference,
    objection_to_all,
    objection_to_frame,
    objection_to_table,
)
from alexandria_backup.postgres.exported_snapshot import SnapshotPosition
from alexandria_backup.postgres.page_ranges import RangeCount
from alexandria_backup.repository.manifest_parts import (
    FramedPart,
    FramePart,
    OriginPart,
    StoredPart,
)

CLUSTER, OTHER = "a" * 64, "b" * 64
ORIGIN = OriginPart(lsn="0/100", timeline=1, xmin=1000, xmax=1010, marker="m", cluster=CLUSTER)
NOW = Now(
    position=SnapshotPosition(lsn="0/200", timeline=1, xmin=2000, xmax=2010),
    cluster=CLUSTER,
    fsync=True,
    sees_marker=lambda nonce: nonce == "m",
)
PART = StoredPart(object="c" * 64, bytes=1, raw_bytes=1, raw_digest="d" * 64)
FRAME = FramePart(first_page=0, end_page=8, rows=5, parts=(PART,), taken_from=None, reason="")
FRAMED = FramedPart(
    oid=1, copy_statement="", frame_pages=8, fingerprint={"types": CLUSTER}, frames=(FRAME,)
)


def moved(**changes: object) -> Now:
    return replace(NOW, position=replace(NOW.position, **changes))


def test_one_history_is_no_objection() -> None:
    assert objection_to_all(Reference(snapshot="s", origin=ORIGIN, tables={}), NOW) is None


@pytest.mark.parametrize(
    ("origin", "now", "said"),
    [
        ({"marker": None}, NOW, "could write no marker"),
        ({"marker": "other"}, NOW, "another history"),
        ({"cluster": OTHER}, NOW, "are others"),
        ({"timeline": 2}, NOW, "another timeline"),
        ({"timeline": 0}, moved(timeline=0), "standby"),
        ({"lsn": "1/0"}, NOW, "before the earlier snapshot"),
        ({"xmax": 3000}, NOW, "before the earlier snapshot"),
        ({}, moved(xmax=2**31), "too many transactions"),
        ({}, replace(NOW, fsync=False), "fsync"),
    ],
)
def test_anything_that_could_be_another_history_is_an_objection(
    origin: dict[str, object], now: Now, said: str
) -> None:
    then = ORIGIN.model_copy(update=origin)
    found = objection_to_all(Reference(snapshot="s", origin=then, tables={}), now)
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("before", "frame_pages", "fingerprint", "said"),
    [
        (None, 8, {"types": CLUSTER}, "new as frames"),
        (FRAMED, 8, None, "without being touched"),
        (FRAMED.model_copy(update={"fingerprint": None}), 8, {"types": CLUSTER}, "touched"),
        (FRAMED, 8, {"types": OTHER}, "changed since: types"),
        (FRAMED, 8, {}, "changed since: what is compared"),
        (FRAMED, 16, {"types": CLUSTER}, "another size"),
    ],
)
def test_a_table_that_could_look_different_is_read(
    before: FramedPart | None, frame_pages: int, fingerprint: dict[str, str] | None, said: str
) -> None:
    found = objection_to_table(before, frame_pages=frame_pages, fingerprint=fingerprint)
    assert found is not None
    assert said in found


def test_the_same_rows_in_good_objects_are_taken_over() -> None:
    assert objection_to_table(FRAMED, frame_pages=8, fingerprint={"types": CLUSTER}) is None
    assert objection_to_frame(FRAME, RangeCount(rows=5, young=0)) is None


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (RangeCount(rows=5, young=1), "may be new"),
        (RangeCount(rows=4, young=0), "4 rows instead of 5"),
    ],
)
def test_a_frame_that_could_have_changed_is_read(count: RangeCount, said: str) -> None:
    found = objection_to_frame(FRAME, count)
    assert found is not None
    assert said in found
