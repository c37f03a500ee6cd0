"""Packed streams in blocks: stock tools read them, and one block is found from the end."""

import array
import gzip
import os
import random
import shutil
import subprocess
import zlib

import pytest

from alexandria_backup.errors import BundleDamaged
from alexandria_backup.sealing.blocks import (
    BLOCK_BYTES,
    TRAILER_BYTES,
    BlockWriter,
    Compression,
    Unpacked,
    gzip_block,
    marked_offset,
)

DATA = random.Random(7).randbytes(BLOCK_BYTES + 5) + b"and again " * 300_000


def written(compression: Compression, threads: int = 2) -> tuple[bytes, int]:
    """Return a stream of `DATA` and a marked block, and where that begins."""
    writer = BlockWriter(compression, threads)
    parts: list[bytes] = []
    for at in range(0, len(DATA), 77_777):
        parts += writer.write(DATA[at : at + 77_777])
    parts += writer.cut()
    offset = writer.packed
    parts += writer.write(b"marked")
    parts += writer.cut()
    writer.close()
    return b"".join(parts) + writer.trailer(offset), offset


@pytest.mark.parametrize("compression", list(Compression))
def test_what_is_packed_is_unpacked_and_the_mark_is_found(compression: Compression) -> None:
    stream, offset = written(compression)
    unpacked = Unpacked(stream[at : at + 5_000] for at in range(0, len(stream), 5_000))
    assert b"".join(unpacked) == DATA + b"marked"
    assert unpacked.packed == len(stream)
    assert marked_offset(unpacked.end) == marked_offset(stream[-TRAILER_BYTES:]) == offset
    assert b"".join(Unpacked([stream[offset:]])) == b"marked"


@pytest.mark.parametrize("compression", list(Compression))
def test_bytes_do_not_depend_on_threads(compression: Compression) -> None:
    assert written(compression, 1) == written(compression, 3)


@pytest.mark.parametrize("compression", list(Compression))
def test_stock_programs_unpack_it(compression: Compression) -> None:
    if shutil.which(compression.value) is None:
        pytest.skip(f"`{compression.value}` is not here")
    stream, _ = written(compression)
    done = subprocess.run([compression.value, "-dc"], input=stream, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (DATA + b"marked", b"")


def test_numbers_without_repetitions_are_no_larger_than_zlib_makes_them() -> None:
    chance = random.Random(3)
    vectors = array.array("f", (chance.gauss(0, 0.05) for _ in range(250_000))).tobytes()
    assert len(gzip_block(vectors)) <= len(zlib.compress(vectors, 6)) + 12
    assert gzip.decompress(gzip_block(vectors)) == vectors


def test_text_is_searched_for_repetitions() -> None:
    text = b"the knowledge store of the application; " * 20_000
    assert len(gzip_block(text)) < len(text) // 100


def test_less_effort_on_headers_costs_a_hundredth() -> None:
    chance = random.Random(5)
    file = b'{"id": %d, "text": "the knowledge store"}\n'
    members = [b"%d.json" % n + bytes(500) + file % chance.getrandbits(64) for n in range(4_000)]
    block = b"".join(member.ljust(1024, b"\0") for member in members)
    assert len(gzip_block(block)) <= len(gzip.compress(block, 6))
    assert gzip.decompress(gzip_block(block)) == block


def test_a_window_larger_than_ours_is_refused() -> None:
    program = shutil.which("zstd")
    if program is None:
        pytest.skip("`zstd` is not here")
    made = subprocess.run(
        [program, "--long=30", "-c"], input=os.urandom(1 << 20), capture_output=True, check=True
    )
    with pytest.raises(BundleDamaged, match="damaged"):
        list(Unpacked([made.stdout]))
