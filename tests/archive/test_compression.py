"""Bodies compressed in segments: what the decoders that read them say."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.archive.compression import (
    EMPTY_ADLER,
    ZlibBodies,
    codec_for,
    combined_adler32,
    segments,
)
from alexandria_backup.archive.toc import Compression
from alexandria_backup.errors import PrecheckRefused


@given(first=st.binary(max_size=3000), second=st.binary(max_size=3000))
def test_checksums_combine_to_that_of_the_whole(first: bytes, second: bytes) -> None:
    combined = combined_adler32(zlib.adler32(first), zlib.adler32(second), len(second))
    assert combined == zlib.adler32(first + second)


@pytest.mark.parametrize("size", [65520, 65521, 65522, 1 << 20])
def test_checksums_combine_around_the_modulus(size: int) -> None:
    text = b"\xff" * size
    combined = combined_adler32(zlib.adler32(text), zlib.adler32(text), size)
    assert combined == zlib.adler32(text + text)


@given(parts=st.lists(st.binary(min_size=1, max_size=500), max_size=5))
def test_segments_are_one_zlib_stream(parts: list[bytes]) -> None:
    codec = ZlibBodies()
    adler32 = EMPTY_ADLER
    body = codec.beginning
    for part in parts:
        segment = codec.segment(part)
        adler32 = combined_adler32(adler32, segment.adler32, segment.raw_bytes)
        body += segment.stored
    stream = zlib.decompressobj()
    assert stream.decompress(body + codec.ending(adler32)) == b"".join(parts)
    # pg_restore never ends where bytes follow the stream, or where it does not end.
    assert (stream.eof, stream.unused_data) == (True, b"")


@given(pieces=st.lists(st.binary(max_size=30)), size=st.integers(1, 20))
def test_segments_hold_the_same_bytes(pieces: list[bytes], size: int) -> None:
    found = list(segments(pieces, size))
    assert b"".join(found) == b"".join(pieces)
    assert all(len(segment) == size for segment in found[:-1])
    assert all(0 < len(segment) <= size for segment in found)


def test_what_cannot_be_compressed_here_is_refused() -> None:
    with pytest.raises(PrecheckRefused, match="`lz4` cannot be written here"):
        codec_for(Compression.LZ4, {})
