"""The recipe is an interface: its bytes are written down here, and do not change."""

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.audit.canonical import length_prefixed
from alexandria_backup.audit.recipe import ALEXANDRIA_V1, recipe_named
from alexandria_backup.errors import UsageError
from alexandria_backup.sealing.hmac_sha256 import HmacSha256

KEY = bytes(range(32))
VALUES = (
    b"01JD0000000000000000000000",
    "zoë@example.org".encode(),
    b"login",
    None,
    b"",
    b'{"a": 1}',
    None,
    b"1767225600000001",
)
value = st.none() | st.binary(max_size=20)
values = st.lists(value, min_size=8, max_size=8)


def test_the_message_is_these_bytes() -> None:
    assert (
        ALEXANDRIA_V1.message(VALUES, bytes(32)).hex()
        == (
            "616c6578616e647269612d61756469742d76310a"  # the domain tag
            "010000001a3031"
            + "4a44"
            + "30" * 22
            + "0100000010"
            + "7a6fc3ab406578616d706c652e6f7267"
            "01000000056c6f67696e"
            "00"  # NULL
            "0100000000"  # an empty text
            "01000000087b2261223a20317d"
            "00"
            "010000001031373637323235363030303030303031" + "00" * 32
        )
    )


def test_golden_hmacs() -> None:
    first = ALEXANDRIA_V1.compute(KEY, VALUES, bytes(32))
    assert first.hex() == "84a25d2a63f485d3749593f2091953006beb86f9ed3d94e40cdd744197b30c80"
    second = ALEXANDRIA_V1.compute(KEY, (b"2", *VALUES[1:]), first)
    assert second.hex() == "6cb59c3e3f388fe9d9ad1d34723e5ea17bf1718dc30f6631c431a97144fd4836"


@given(values, values)
def test_two_different_rows_have_two_different_messages(
    one: list[bytes | None], other: list[bytes | None]
) -> None:
    assert (length_prefixed(one) == length_prefixed(other)) == (one == other)


@given(st.lists(st.text("a|\0\1", max_size=4), min_size=3, max_size=3))
def test_moving_a_border_between_two_values_shows(texts: list[str]) -> None:
    one = [text.encode() for text in texts]
    moved = [one[0] + one[1][:1], one[1][1:], one[2]]
    assert (length_prefixed(one) == length_prefixed(moved)) == (one == moved)


def test_long_values_are_prefixed_like_short_ones() -> None:
    for size in (2047, 2048, 100_000):
        assert length_prefixed([b"x" * size]) == b"\1" + size.to_bytes(4, "big") + b"x" * size


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_the_fast_way_is_hmac(key: bytes, message: bytes) -> None:
    assert HmacSha256(key).digest(message) == hmac.digest(key, message, sha256)


@pytest.mark.parametrize("text", [b"", b"00", b"zz" * 32, b"AB" * 32, b" " + b"00" * 32, b"\xff"])
def test_an_hmac_is_written_in_one_way_only(text: bytes) -> None:
    assert ALEXANDRIA_V1.read(text) is None


def test_hmacs_are_read_as_they_are_written() -> None:
    assert ALEXANDRIA_V1.read(ALEXANDRIA_V1.write(KEY).encode()) == KEY


def test_an_unknown_recipe_names_the_known_ones() -> None:
    assert recipe_named("alexandria-v1") is ALEXANDRIA_V1
    with pytest.raises(UsageError, match="alexandria-v9") as caught:
        recipe_named("alexandria-v9")
    assert "alexandria-v1" in str(caught.value.hint)
