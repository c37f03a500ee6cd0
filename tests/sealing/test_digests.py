import sys
from hashlib import sha256
from random import Random

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.sealing.digests import (
    KeyedDigest,
    RowDigest,
    RowSum,
    Sha256Tee,
    derived_key,
    keyed_blake3,
    made_under,
    public_digest_key,
)

tables = st.lists(st.binary(max_size=8), min_size=1, max_size=20)


def digest_of(rows: list[bytes]) -> str:
    digest = RowDigest()
    digest.add_all(rows)
    return digest.hexdigest()


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_a_tee_passes_everything_on(chunks: list[bytes]) -> None:
    tee = Sha256Tee(chunks)
    assert list(tee) == chunks
    whole = b"".join(chunks)
    assert (tee.size, tee.hexdigest()) == (len(whole), sha256(whole).hexdigest())


def test_a_tee_tells_what_has_passed_so_far() -> None:
    tee = Sha256Tee([b"a", b"b"])
    next(iter(tee))
    assert (tee.size, tee.hexdigest()) == (1, sha256(b"a").hexdigest())


@given(st.data(), tables)
def test_the_order_of_rows_does_not_matter(data: st.DataObject, rows: list[bytes]) -> None:
    assert digest_of(data.draw(st.permutations(rows))) == digest_of(rows)


@given(tables, tables)
def test_the_division_into_calls_does_not_matter(first: list[bytes], second: list[bytes]) -> None:
    digest = RowDigest()
    digest.add_all(iter(first))
    for row in second:
        digest.add(row)
    assert digest.hexdigest() == digest_of(first + second)
    assert digest.rows == len(first) + len(second)


@given(tables, st.integers(0))
def test_loss_doubling_and_change_show(rows: list[bytes], at: int) -> None:
    at %= len(rows)
    others = rows[:at] + rows[at + 1 :]
    assert digest_of(others) != digest_of(rows)
    assert digest_of([*rows, rows[at]]) != digest_of(rows)
    assert digest_of([*others, rows[at] + b"x"]) != digest_of(rows)


def test_a_doubled_row_is_no_lost_pair() -> None:
    # An exclusive or of digests would take these for equal.
    assert digest_of([b"a", b"a"]) != digest_of([b"b", b"b"])
    assert digest_of([b"a", b"a", b"b"]) != digest_of([b"b", b"b", b"b"])


def test_golden() -> None:
    assert digest_of([]) == "0:" + "0" * 64
    one = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert digest_of([b"a"]) == f"1:{one}"
    # Six times the same row: the sum passes 2^256.
    assert digest_of([b"a"] * 6) == f"6:{int(one, 16) * 6 % 2**256:064x}"


def sum_of(rows: list[bytes], cuts: list[int]) -> RowSum:
    """Return the sum of rows whose text comes in pieces that are `cuts` long, and a rest."""
    found = RowSum()
    text = b"".join(row + b"\n" for row in rows)
    for size in cuts:
        found.add_text(text[:size])
        text = text[size:]
    found.add_text(text)
    return found


class TestRowSum:
    ROWS = st.lists(st.binary(max_size=8).filter(lambda row: b"\n" not in row), max_size=20)

    @given(ROWS, st.lists(st.integers(0, 9), max_size=5), st.randoms())
    def test_neither_order_nor_division_matters(
        self, rows: list[bytes], cuts: list[int], chance: Random
    ) -> None:
        other = chance.sample(rows, len(rows))
        whole = RowSum()
        whole.add(sum_of(other[:3], []))
        whole.add(sum_of(other[3:], cuts))
        assert sum_of(rows, cuts) == whole
        assert whole.rows == len(rows)

    @given(ROWS, ROWS)
    def test_other_rows_have_another_sum(self, rows: list[bytes], others: list[bytes]) -> None:
        assert (sum_of(rows, []) == sum_of(others, [])) == (sorted(rows) == sorted(others))

    def test_a_row_that_is_there_twice_counts_twice(self) -> None:
        assert sum_of([b"a", b"b"], []) != sum_of([b"a", b"b", b"b"], [])
        assert sum_of([b"a", b"a"], []) != sum_of([b"b", b"b"], [])

    def test_text_is_cut_up_without_a_trace(self) -> None:
        rows = [b"%07d" % number for number in range(100_000)]
        assert sum_of(rows, []) == sum_of(rows, [1, 2, 3])

    def test_the_interpreter_hashes_bytes_under_a_key_and_to_64_bits(self) -> None:
        assert sys.hash_info.algorithm.startswith("siphash")
        assert sys.hash_info.hash_bits == 64


class TestKeyedDigest:
    KEY, OTHER = bytes(range(32)), bytes(32)

    @given(st.lists(st.binary(max_size=50), max_size=5))
    def test_the_division_into_calls_does_not_matter(self, chunks: list[bytes]) -> None:
        digest = KeyedDigest(self.KEY)
        for chunk in chunks:
            digest.update(chunk)
        assert digest.hexdigest() == keyed_blake3(self.KEY, b"".join(chunks))

    def test_it_is_blake3_behind_the_name_of_its_key(self) -> None:
        found = keyed_blake3(self.KEY, b"text")
        assert found[8:] == blake3(b"text", key=self.KEY).hexdigest()[:56]
        assert found == "af4ed0c16c04bb03bef9adddb6bb4bec6d2369f50f7619839eb2292cfadd8987"

    def test_another_key_is_told_from_other_data(self) -> None:
        ours = keyed_blake3(self.KEY, b"text")
        assert made_under(self.KEY, ours)
        assert not made_under(self.OTHER, ours)
        assert keyed_blake3(self.OTHER, b"text")[8:] != ours[8:]

    def test_derived_keys_differ_by_purpose_and_by_material(self) -> None:
        keys = {derived_key(context, data) for context in ("a", "b") for data in (b"a", b"b")}
        assert len(keys) == 4
        assert public_digest_key("a") != public_digest_key("b")
