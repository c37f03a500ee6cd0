"""Digests of rows in a manifest are keyed, and those of before are still compared."""

from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.repository.keyed_digests import keyed, may_be_same
from alexandria_backup.sealing.digests import RowDigest

KEY, OTHER = b"k" * 32, b"o" * 32


def digest_of(*rows: bytes) -> str:
    digest = RowDigest()
    digest.add_all(rows)
    return digest.hexdigest()


@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
def test_rows_are_compared_whether_their_digest_is_keyed_or_not(
    some: list[bytes], others: list[bytes]
) -> None:
    found, recorded = digest_of(*some), digest_of(*others)
    same = sorted(some) == sorted(others)
    assert may_be_same(recorded, found, KEY) is same
    assert may_be_same(keyed(recorded, KEY), found, KEY) is same


def test_a_keyed_digest_shows_no_plain_one() -> None:
    plain = digest_of(b"secret")
    shown = keyed(plain, KEY)
    assert shown != keyed(plain, OTHER)
    assert plain.partition(":")[2] not in shown


def test_without_the_key_only_the_number_of_rows_is_compared() -> None:
    recorded = keyed(digest_of(b"a", b"b"), KEY)
    for key in (OTHER, None):
        assert may_be_same(recorded, digest_of(b"x", b"y"), key)
        assert not may_be_same(recorded, digest_of(b"a"), key)


def test_what_could_not_be_counted_is_only_like_itself() -> None:
    assert may_be_same(None, None, KEY)
    assert not may_be_same(None, digest_of(), KEY)
    assert not may_be_same(keyed(digest_of(), KEY), None, KEY)
