"""Any bytes at all: the reader of bundles answers, or refuses with BundleDamaged; nothing else."""

import gzip
import random
from contextlib import suppress

import pytest
from bundle_support import packed, read, sealed, sound
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria_backup.bundle.entry_parsing import parse
from alexandria_backup.errors import BundleDamaged
from alexandria_backup.sealing.blocks import Compression, marked_offset

GOOD = {compression: sound(compression=compression).made() for compression in Compression}
DOCUMENT = sound()._document(2560)
RAW = gzip.decompress(GOOD[Compression.GZIP])


def answers(data: bytes) -> None:
    with suppress(BundleDamaged):
        found = read(data)
        list(found.manifest.entries())


@settings(max_examples=60)
@given(
    data=st.binary(max_size=4096),
    start=st.sampled_from([b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"]),
)
def test_noise_is_answered(data: bytes, start: bytes) -> None:
    answers(start + data)
    answers(gzip.compress(data))


@settings(max_examples=60)
@given(line=st.binary(max_size=300))
def test_any_line_is_an_entry_or_refused(line: bytes) -> None:
    with pytest.raises(BundleDamaged):
        parse(line)


@settings(max_examples=60)
@given(end=st.binary(max_size=100))
def test_any_end_points_somewhere_or_is_refused(end: bytes) -> None:
    with suppress(BundleDamaged):
        assert marked_offset(end) >= 0


def mutated(source: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few of them changed, lost, doubled or moved."""
    data = bytearray(source)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        size = chance.choice((1, 2, 8, 100, 512))
        deed = chance.randrange(4)
        if deed == 0:
            data[at] = chance.choice((0, 0x2F, 0x2E, 0x30, 0x37, 0xFF, chance.randrange(256)))
        elif deed == 1 and len(data) > size:
            del data[at : at + size]
        elif deed == 2:
            data[at:at] = data[at : at + size]
        else:
            other = chance.randrange(len(data))
            data[at : at + size] = data[other : other + size]
        if not data:
            data += b"\0"
    return bytes(data)


def fuzz(rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        compression = chance.choice(list(Compression))
        answers(mutated(GOOD[compression], chance))
        # Below the packing, where the checksums of gzip do not stand in the way.
        answers(packed(mutated(RAW[:2560], chance), RAW[2560:]))
        answers(packed(RAW[:2560], mutated(RAW[2560:], chance)))
        # Below the seal as well: an author of a bundle can make one that fits.
        lines = mutated(DOCUMENT, chance).decode(errors="replace").split("\n")[:-2]
        answers(sound(document=lambda _, lines=lines: sealed(lines)).made())  # type: ignore[misc]


def test_a_damaged_or_hostile_bundle_is_answered() -> None:
    fuzz(rounds=120, seed=1)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(2, 42))
def test_damaged_and_hostile_bundles_are_answered(seed: int) -> None:
    fuzz(rounds=1_500, seed=seed)
