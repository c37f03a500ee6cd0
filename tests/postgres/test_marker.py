"""What a comment says of a run comes back; what others write is theirs."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.postgres.marker import Marker, without_marker

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(run=TEXTS, of=TEXTS, role=st.sampled_from(["shadow", "kept"]))
def test_markers_come_back(run: str, of: str, role: str) -> None:
    given_marker = Marker(
        run=run, role="kept" if role == "kept" else "shadow", of=of, at=datetime.now(UTC)
    )
    assert Marker.decode(given_marker.encode()) == given_marker


@given(TEXTS | st.sampled_from(['{"alexandria-backup": 1}', '{"alexandria-backup": {"run": 1}}']))
def test_other_comments_are_no_markers(comment: str) -> None:
    assert Marker.decode(comment) is None
    assert Marker.decode(None) is None


def test_a_comment_nested_beyond_reading_is_somebody_elses() -> None:
    assert Marker.decode("[" * 100_000) is None


@given(comment=st.none() | TEXTS, times=st.integers(0, 3))
def test_the_comment_below_markers_is_found(comment: str | None, times: int) -> None:
    written = comment
    for _ in range(times):
        written = Marker(run="r", role="kept", of="d", comment=written).encode()
    assert without_marker(written) == comment
