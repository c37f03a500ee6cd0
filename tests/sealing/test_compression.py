import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.errors import ArchiveDamaged
from alexandria_backup.sealing.compression import (
    PIECE_BYTES,
    ZstdDecompressor,
    archive_decompressor,
    compress,
    decompress,
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


class TestOneFrame:
    @given(st.binary(max_size=500), st.integers(1, 5))
    def test_it_comes_back(self, text: bytes, level: int) -> None:
        assert decompress(compress(text, level), len(text)) == text

    def test_it_tells_its_size_and_has_a_checksum(self) -> None:
        assert zstd.get_frame_info(compress(b"text" * 100)).decompressed_size == 400
        stored = compress(b"text")
        with pytest.raises(ArchiveDamaged, match="checksum"):
            decompress(stored[:-1] + bytes([stored[-1] ^ 1]), 4)

    def test_it_is_the_same_each_time(self) -> None:
        assert compress(b"text" * 1000) == compress(b"text" * 1000)

    def test_more_than_the_most_is_refused(self) -> None:
        with pytest.raises(ArchiveDamaged, match="more than 99 bytes"):
            decompress(compress(bytes(100)), 99)

    @pytest.mark.parametrize("cut", range(13))
    def test_every_cut_shows(self, cut: int) -> None:
        with pytest.raises(ArchiveDamaged, match="before the end"):
            decompress(compress(b"text")[:cut], 4)

    def test_what_follows_it_is_refused(self) -> None:
        with pytest.raises(ArchiveDamaged, match="follow"):
            decompress(compress(b"text") + compress(b""), 4)

    def test_other_bytes_are_refused(self) -> None:
        with pytest.raises(ArchiveDamaged, match="damaged"):
            decompress(b"this is not zstd", 100)
