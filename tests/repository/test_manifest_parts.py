"""What a manifest may say of stored bytes: sums that add up and ranges without gaps."""

import pytest
from pydantic import ValidationError

from alexandria_backup.repository.manifest_parts import (
    ArchivePart,
    FramedPart,
    FramePart,
    StoredPart,
    TablePart,
)

PART = StoredPart(object="a" * 64, bytes=10, raw_bytes=20, raw_digest="b" * 64)


def frame(first: int, end: int | None, rows: int = 1) -> FramePart:
    return FramePart(
        first_page=first, end_page=end, rows=rows, parts=(PART,), taken_from=None, reason="new"
    )


def framed(*frames: FramePart) -> FramedPart:
    return FramedPart(
        oid=1,
        copy_statement="COPY public.t (id) FROM stdin;\n",
        frame_pages=8,
        fingerprint=None,
        frames=frames,
    )


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param([(8, 16)], id="begins late"),
        pytest.param([(0, 8), (16, 24)], id="a gap"),
        pytest.param([(0, 8), (0, 8)], id="twice"),
        pytest.param([(8, 16), (0, 8)], id="out of order"),
        pytest.param([(0, None), (8, 16)], id="goes on after the end"),
    ],
)
def test_page_ranges_that_would_lose_or_double_rows_are_refused(
    ranges: list[tuple[int, int | None]],
) -> None:
    with pytest.raises(ValidationError, match="gaps or overlap"):
        framed(*(frame(first, end) for first, end in ranges))


def test_frames_must_hold_as_many_rows_as_their_table() -> None:
    frames = framed(frame(0, 8, rows=3), frame(8, 16, rows=4))
    fields = {"schema_name": "public", "name": "t", "columns": ("id",), "digest": None}
    assert TablePart(**fields, rows=7, framed=frames).rows == 7
    for wrong in (6, None):
        with pytest.raises(ValidationError, match="do not add up"):
            TablePart(**fields, rows=wrong, framed=frames)


@pytest.mark.parametrize(
    ("name", "parts", "size", "said"),
    [
        (None, (), 20, "either a file or stored in parts"),
        ("a.pgdump", (PART,), 20, "either a file or stored in parts"),
        (None, (PART, PART), 20, "bytes of the parts do not add up"),
    ],
)
def test_an_archive_is_a_file_or_parts_that_add_up(
    name: str | None, parts: tuple[StoredPart, ...], size: int, said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        ArchivePart(
            name=name,
            bytes=size,
            sha256="0" * 64,
            compression="none",
            encoding="UTF8",
            parts=parts,
        )
