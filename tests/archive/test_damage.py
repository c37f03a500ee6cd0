"""Damaged archives: whatever is cut, flipped or made up ends in ArchiveDamaged, and never well."""

import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexandria_backup.archive.contents import ArchiveContents, survey
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import Compression
from alexandria_backup.errors import ArchiveDamaged, ExitCode, PrecheckRefused
from alexandria_backup.sealing.compression import archive_decompressor
from alexandria_backup.sealing.digests import RowDigest

GOLDEN = sorted((Path(__file__).parent / "data").glob("*.pgdump"))
BY_NAME = {path.stem: path.read_bytes() for path in GOLDEN}
ROWS = b"1\n2\n3\n\\.\n\n\n"


def surveyed(*chunks: bytes) -> ArchiveContents:
    reader = ArchiveReader(chunks, decompressors={Compression.ZSTD: archive_decompressor})
    return survey(reader, digest=RowDigest)


def refused(data: bytes) -> str:
    with pytest.raises(ArchiveDamaged) as caught:
        surveyed(data)
    assert caught.value.exit_code == ExitCode.SNAPSHOT_DAMAGED
    return caught.value.message


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> bytes:
    return BY_NAME[request.param.stem]


def begin_of_data(data: bytes) -> int:
    reader = ArchiveReader([data])
    return reader._source.offset


def test_golden_archives_read_alike(golden: bytes) -> None:
    contents = surveyed(golden)
    assert [(t.name, t.rows, t.raw_bytes, t.digest) for t in contents.tables] == [
        ("people", 20, 262, f"20:{PEOPLE}"),
        ("things", 3, 11, f"3:{THINGS}"),
    ]
    assert (contents.large_objects.count, contents.large_objects.raw_bytes) == (2, 12)
    # Over the objects 77 and 4294967290: an OID from 2^31 on is written as a negative number.
    assert contents.large_objects.digest == f"2:{OBJECTS}"


PEOPLE = "8912352df82f3f2eb6973ef3f334d454173941d5b10717a0c99a031028918721"
OBJECTS = "05735baad8ae80479aa6ca866a165ceaeadb19dccdb785c4d4a2e30fdcabc927"
THINGS = "5747a8d5d0bc1f1a7720783d35390a86e699b4e67cde554c0d06e989a3bcf0c2"


def test_cut_at_every_byte(golden: bytes) -> None:
    # Where a second table of contents begins, the file is a whole archive without it.
    whole = ends_of(golden)
    for end in range(len(golden)):
        if end not in whole:
            message = refused(golden[:end])
            assert message.startswith(("the archive ", "something follows the archive's end")), end


def ends_of(data: bytes) -> set[int]:
    reader = ArchiveReader([data])
    for block in reader.blocks():
        block.skip()
        last = reader._source.offset
    return {last}


def test_anything_after_the_end_is_refused(golden: bytes) -> None:
    (end,) = ends_of(golden)
    for tail in (b"\0", b"\n", b"PGDMP", golden, golden[:end][-40:]):
        message = refused(golden + tail)
        assert f"something follows the archive's end at byte {end}" in message


@pytest.mark.parametrize("name", ["1.15-none", "1.16-none"])
def test_a_second_table_of_contents_must_say_the_same(name: str) -> None:
    data = BY_NAME[name]
    (end,) = ends_of(data)
    assert end < len(data)
    offset = begin_of_data(data).to_bytes(8, "little")
    for old, new in ((b"\2" + offset, b"\2" + b"\7" * 8), (b"people", b"PEOPLE")):
        assert old in data[end:]
        changed = data[:end] + data[end:].replace(old, new, 1)
        assert f"something follows the archive's end at byte {end}" in refused(changed)


def test_every_flipped_bit_of_compressed_data_is_found() -> None:
    data = BY_NAME["1.16-gzip"]
    for at in range(begin_of_data(data), len(data)):
        for bit in (1, 0x10, 0x80):
            damaged = bytearray(data)
            damaged[at] ^= bit
            try:
                contents = surveyed(bytes(damaged))
            except ArchiveDamaged:
                continue
            # What no checksum covers: the number and sign of a large object, and the sign of a
            # zero. Rows and contents are as they were.
            assert [(t.rows, t.digest) for t in contents.tables] == [
                (20, f"20:{PEOPLE}"),
                (3, f"3:{THINGS}"),
            ], at
            assert contents.large_objects.raw_bytes == 12, at


@pytest.mark.parametrize("name", ["1.14-gzip", "1.15-gzip", "1.16-none"])
def test_flipped_bytes_of_the_head_raise_nothing_else(name: str) -> None:
    data = BY_NAME[name]
    for at in range(begin_of_data(data)):
        for value in (0xFF, data[at] ^ 1):
            damaged = bytearray(data)
            damaged[at] = value
            read_or_refused(bytes(damaged))


def read_or_refused(*chunks: bytes) -> None:
    try:
        surveyed(*chunks)
    except (ArchiveDamaged, PrecheckRefused):
        return


mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "insert"]),
        st.integers(0, 6000),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(BY_NAME)),
    mutations=mutations,
    size=st.sampled_from([13, 512, 9999]),
)
def test_random_mutations_raise_nothing_else(
    name: str, mutations: list[tuple[str, int, bytes]], size: int
) -> None:
    data = bytearray(BY_NAME[name])
    for what, at, content in mutations:
        at %= len(data)  # noqa: PLW2901 - places come before the lengths are known
        if what == "insert":
            data[at:at] = content
        else:
            data[at : at + len(content)] = content if what == "set" else b""
    read_or_refused(*(bytes(data[at : at + size]) for at in range(0, len(data), size)))


@settings(max_examples=200, deadline=None)
@given(tail=st.binary(max_size=400), minor=st.integers(0, 20))
def test_random_bytes_after_the_magic_raise_nothing_else(tail: bytes, minor: int) -> None:
    read_or_refused(b"PGDMP\1" + bytes([minor]) + b"\0\4\10\1" + tail)


# ── what is no archive ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "words", "hint"),
    [
        (b"", "the archive is empty", "another snapshot"),
        (b"PGD", "cut off at byte 3", "another snapshot"),
        (b"\x1f\x8b\x08\0abc", "a gzip file", "gunzip"),
        (b"\x28\xb5\x2f\xfdabc", "a zstd file", "zstd -d"),
        (b"--\n-- PostgreSQL database dump\n--\n", "a plain SQL script", "-f FILE"),
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "`pg_dumpall`", "-f FILE"),
        (b"CREATE TABLE t ();\n", "an SQL script", "-f FILE"),
        (b"toc.dat" + b"\0" * 600, "tar format", "pg_restore"),
        (b"x.txt".ljust(257, b"\0") + b"ustar" + b"\0" * 300, "a tar file", "--format=custom"),
        (b"PGDMP\1\16\0\4\10\3", "directory or tar format", "--format=custom"),
        (b"<?xml version='1.0'?><Error/>", "HTML or XML", "get the whole file"),
        (b"\0" * 4096, "NUL bytes", "get the whole file"),
        (b"garbage", "something else", "--format=custom"),
    ],
)
def test_what_a_file_is_instead(data: bytes, words: str, hint: str) -> None:
    with pytest.raises(ArchiveDamaged) as caught:
        ArchiveReader([data] if data else [])
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("version", [(1, 11), (1, 17), (2, 14), (0, 0)])
def test_other_versions_are_refused(version: tuple[int, int]) -> None:
    message = refused(b"PGDMP" + bytes(version) + b"\0\4\10\1" + b"\0" * 100)
    assert f"unsupported version {version[0]}.{version[1]}" in message


# ── what is put together by hand ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("minor", [12, 13, 14, 15, 16])
@pytest.mark.parametrize("algorithm", [0, 1])
def test_every_version_is_read(craft: Any, minor: int, algorithm: int) -> None:
    body = [zlib.compress(ROWS)] if algorithm else [ROWS]
    contents = surveyed(craft(minor=minor, algorithm=algorithm, bodies=[body, body]).build())
    assert [(table.rows, table.raw_bytes) for table in contents.tables] == [(3, 6), (3, 6)]


def test_segments_of_one_stream_are_read(craft: Any) -> None:
    compressor = zlib.compressobj()
    pieces = [compressor.compress(b"1\n2\n"), compressor.flush(zlib.Z_SYNC_FLUSH)]
    pieces += [compressor.compress(b"3\n\\.\n\n\n"), compressor.flush()]
    chunks = [piece for piece in pieces if piece]
    assert surveyed(craft(algorithm=1, bodies=[chunks]).build()).tables[0].rows == 3


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([zlib.compress(ROWS) + b"\0"], "data follow the end of a compressed stream"),
        ([zlib.compress(ROWS), b"\0"], "data follow the end of a compressed stream"),
        ([zlib.compress(b"1\n"), zlib.compress(b"\\.\n\n\n")], "data follow the end"),
        ([zlib.compress(ROWS)[:-1]], "end before the end of their stream"),
        ([zlib.compress(ROWS)[:-1] + b"\0"], "incorrect data check"),
        ([], "end before the end of their stream"),
        ([zlib.compress(b"1\n2\n")], "without their terminator"),
        ([zlib.compress(b"1\n2")], "inside a row"),
        ([zlib.compress(ROWS + b"4\n")], "data follow the terminator"),
    ],
)
def test_damaged_gzip_bodies(craft: Any, chunks: list[bytes], words: str) -> None:
    assert words in refused(craft(algorithm=1, bodies=[chunks]).build())


def test_missing_rows_of_a_stored_body_are_found_by_their_terminator(craft: Any) -> None:
    # pg_restore ends with exit code 0 on this.
    assert "without their terminator" in refused(craft(bodies=[[b"1\n", b"2\n"]]).build())


def test_zstd_is_read_in_frames_that_end_with_chunks(craft: Any) -> None:
    frames = [zstd.compress(b"1\n2\n"), zstd.compress(b"3\n\\.\n\n\n")]
    assert surveyed(craft(algorithm=3, bodies=[frames]).build()).tables[0].rows == 3
    # pg_restore drops the second frame without a word.
    assert "inside a chunk" in refused(craft(algorithm=3, bodies=[[b"".join(frames)]]).build())
    assert "before the end" in refused(craft(algorithm=3, bodies=[[frames[0][:-2]]]).build())


def test_an_algorithm_without_decompressor_is_not_verified(craft: Any) -> None:
    reader = ArchiveReader([craft(algorithm=2, bodies=[[b"lz4"], [b"lz4"]]).build()])
    (table, _) = survey(reader, digest=RowDigest).tables
    assert (table.readable, table.rows, table.raw_bytes, table.digest) == (False, None, None, None)
    again = ArchiveReader([craft(algorithm=2, bodies=[[b"lz4"]]).build()])
    with pytest.raises(PrecheckRefused):
        next(again.blocks()).chunks()  # type: ignore[union-attr]  # the block is a table's


def test_data_that_are_marked_as_missing_are_refused(craft: Any) -> None:
    # pg_restore restores an empty table from this, with exit code 0.
    assert "marked as having none" in refused(craft(bodies=[[ROWS]], position=(3, 0)).build())


def test_a_wrong_offset_is_refused(craft: Any) -> None:
    assert "the entry says 77" in refused(craft(bodies=[[ROWS]], position=(2, 77)).build())


def test_a_missing_block_is_named(craft: Any) -> None:
    made = craft(bodies=[[ROWS]])
    made.extra_entries = [
        made.entry(99, b"TABLE DATA", had_dumper=1, tag=b"lost", position=(1, 0), section=3)
    ]
    assert "TABLE DATA `lost`" in refused(made.build())


def test_a_block_twice_or_of_nobody_is_refused(craft: Any) -> None:
    block = b"\1\0\12\0\0\0" + b"\0" * 5
    first = craft(bodies=[[ROWS], [ROWS]]).build()
    at = first.rindex(b"\1" + craft().integer(11))
    assert "entry 10 is not in its place" in refused(first[:at] + block + first[at:])


def test_two_entries_of_one_number_are_refused(craft: Any) -> None:
    made = craft(bodies=[[ROWS]])
    made.extra_entries = [made.entry(10, b"TABLE", tag=b"t")]
    assert "two entries have the number 10" in refused(made.build())


def test_text_that_is_not_of_its_encoding_is_refused(craft: Any) -> None:
    assert "not valid UTF8" in refused(craft(bodies=[[ROWS]], tag=b"\xff\xfe").build())
    latin = ArchiveReader([craft(bodies=[[ROWS]], tag=b"M\xfcller", encoding="LATIN1").build()])
    assert latin.entries[1].tag == "Müller"
    unknown = craft(bodies=[[ROWS]], tag=b"M\xfcller", encoding="SQL_ASCII").build()
    assert ArchiveReader([unknown]).entries[1].tag == "M\\xfcller"


def test_a_nul_byte_in_a_name_is_refused(craft: Any) -> None:
    # A C program would take the name to end there.
    assert "NUL byte" in refused(craft(bodies=[[ROWS]], tag=b"t\0evil").build())


@pytest.mark.parametrize("created", [(0, 0, 0, 0, 0, 0, 0), (6, 5, 4, 3, 12, 126, 0)])
def test_a_time_that_is_none_is_refused(craft: Any, created: tuple[int, ...]) -> None:
    assert "the time of the dump" in refused(craft(created=created, bodies=[[ROWS]]).build())


def test_null_and_empty_differ(craft: Any) -> None:
    made = craft(bodies=[[ROWS]])
    made.extra_entries = [
        made.entry(20, b"TABLE", definition=b"", owner=None),
        made.entry(21, b"TABLE", definition=None, owner=b""),
    ]
    entries = ArchiveReader([made.build()]).entries
    assert [(entry.definition, entry.owner) for entry in entries[-2:]] == [("", None), (None, "")]


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def peak_of(data: bytes) -> int:
    tracemalloc.start()
    try:
        read_or_refused(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_lying_length_asks_for_no_memory(craft: Any) -> None:
    head = craft().header()
    for lie in (b"\0\0\0\0\x40", b"\0\xff\xff\xff\x3f", b"\1\xff\xff\xff\xff"):
        assert peak_of(head + b"\0\xff\xff\xff\x7f" + lie * 20) < 1_000_000
        block = craft(bodies=[[ROWS]]).build().removesuffix(b"\0" * 5)
        assert peak_of(block + lie) < 1_000_000


@pytest.mark.parametrize("algorithm", [1, 3])
def test_a_bomb_is_read_in_flat_memory(craft: Any, algorithm: int) -> None:
    text = b"1\n" * 20_000_000 + b"\\.\n\n\n"
    body = zlib.compress(text, 9) if algorithm == 1 else zstd.compress(text)
    data = craft(algorithm=algorithm, bodies=[[body]]).build()
    reader = ArchiveReader([data], decompressors={Compression.ZSTD: archive_decompressor})
    tracemalloc.start()
    try:
        block = next(reader.blocks())
        read = sum(map(len, block.chunks()))  # type: ignore[union-attr]  # the block is a table's
        assert read == len(text)
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()


def test_whatever_is_damaged_there_is_something_to_do() -> None:
    assert ArchiveDamaged("no more than that").hint == ArchiveDamaged.usual_hint
    assert ArchiveDamaged("more than that", hint="look").hint == "look"
