from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria_backup.demo.ulid import encode, ulid


def test_the_example_of_the_specification() -> None:
    """From the README of github.com/ulid/javascript: `ulid(1469918176385)`."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=1469918176385)
    assert ulid(at, 0) == "01ARYZ6S41" + "0" * 16
    assert encode((1 << 128) - 1) == "7" + "Z" * 25


@settings(max_examples=100)
@given(st.lists(st.integers(0, (1 << 128) - 1), min_size=2))
def test_letters_sort_like_numbers(values: list[int]) -> None:
    assert sorted(map(encode, values)) == [encode(value) for value in sorted(values)]
