import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.errors import ArchiveDamaged
from alexandria_backup.sealing.compression import (
    PIECE_BYTES,
    ZstdDecompressor,
    archive_decompressor,
)


def read(stream: ZstdDecompressor, *chunks: bytes) -> bytes:
    pieces = [piece for chunk in chunks for piece in stream.decompress(chunk)]
    stream.finish()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 40))
def test_frames_come_back_however_they_are_cut(texts: list[bytes], size: int) -> None:
    stored = b"".join(map(zstd.compress, texts))
    chunks = [stored[at : at + size] for at in range(0, len(stored), size)]
    assert read(ZstdDecompressor(), *chunks) == b"".join(texts)


def test_much_from_little_comes_in_pieces() -> None:
    text = bytes(5 * PIECE_BYTES + 17)
    assert read(ZstdDecompressor(), zstd.compress(text)) == text


def test_every_cut_inside_a_frame_shows() -> None:
    stored = zstd.compress(b"some text that is not long" * 3)
    for end in range(1, len(stored)):
        with pytest.raises(ArchiveDamaged, match="before the end"):
            read(ZstdDecompressor(), stored[:end])


def test_a_flipped_bit_shows_where_the_frame_has_a_checksum() -> None:
    options = {zstd.CompressionParameter.checksum_flag: 1}
    stored = bytearray(zstd.compress(b"some text that is not long" * 3, options=options))
    stored[-1] ^= 1
    with pytest.raises(ArchiveDamaged, match="damaged"):
        read(ZstdDecompressor(), bytes(stored))


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ArchiveDamaged, match="damaged"):
        read(ZstdDecompressor(), b"this is not zstd")


def test_in_an_archive_a_frame_ends_with_its_chunk() -> None:
    frames = [zstd.compress(b"one"), zstd.compress(b"two")]
    assert read(archive_decompressor(), *frames) == b"onetwo"
    with pytest.raises(ArchiveDamaged, match="inside a chunk"):
        read(archive_decompressor(), b"".join(frames))
