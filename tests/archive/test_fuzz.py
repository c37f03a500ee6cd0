"""Fuzzing: whatever the reader accepts, the writer can write, and it then reads the same.

A slice runs by default, the long run with `make campaign`.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexandria_backup.archive.contents import ArchiveContents, survey
from alexandria_backup.archive.copy_text import fields, rows
from alexandria_backup.archive.injection import FramedTable
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import Compression
from alexandria_backup.archive.writer import ArchiveWriter
from alexandria_backup.errors import AlexandriaError, ArchiveDamaged, SnapshotDamaged
from alexandria_backup.sealing.compression import archive_decompressor, compress
from alexandria_backup.sealing.digests import RowDigest

GOLDEN = {path.stem: path for path in (Path(__file__).parent / "data").glob("*.pgdump")}
DECOMPRESSORS = {Compression.ZSTD: archive_decompressor}
COMPRESSORS = {Compression.ZSTD: compress}

mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "insert"]),
        st.integers(0, 6000),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=3,
)
#: `None` keeps what the archive has.
compressions = st.sampled_from([None, Compression.NONE, Compression.GZIP, Compression.ZSTD])
minors = st.sampled_from([None, 14, 15, 16])


def run(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )


def both(test: Callable[..., None], *strategies: Any, **named: Any) -> tuple[Any, Any]:
    """Return the slice and the campaign of a property."""
    made = [run(examples)(given(*strategies, **named)(test)) for examples in (150, 20_000)]
    return made[0], pytest.mark.campaign(made[1])


def mutated(name: str, changes: list[tuple[str, int, bytes]]) -> bytes:
    data = bytearray(GOLDEN[name].read_bytes())
    for what, at, content in changes:
        at %= len(data)  # noqa: PLW2901 - places come before the lengths are known
        if what == "insert":
            data[at:at] = content
        else:
            data[at : at + len(content)] = content if what == "set" else b""
    return bytes(data)


def read(data: bytes) -> ArchiveContents:
    return survey(ArchiveReader([data], decompressors=DECOMPRESSORS), digest=RowDigest)


def written_again(
    name: str,
    changes: list[tuple[str, int, bytes]],
    compression: Compression | None,
    minor: int | None,
) -> None:
    data = mutated(name, changes)
    try:
        contents = read(data)
    except AlexandriaError:
        contents = None
    try:
        writer = ArchiveWriter(
            ArchiveReader([data], decompressors=DECOMPRESSORS),
            compression=compression,
            format_minor=minor,
            compressors=COMPRESSORS,
            threads=1,
        )
        file = io.BytesIO()
        assert writer.write_to(file) == len(file.getvalue())
    except AlexandriaError:
        return
    if contents is not None:
        assert read(file.getvalue()) == contents


test_what_is_read_is_written, test_what_is_read_is_written_campaign = both(
    written_again,
    name=st.sampled_from(sorted(GOLDEN)),
    changes=mutations,
    compression=compressions,
    minor=minors,
)


class Frame:
    """A frame whose bytes nobody has checked."""

    def __init__(self, stored: bytes) -> None:
        self._stored = stored

    def text(self) -> Iterator[bytes]:
        yield self._stored

    def zstd(self) -> Iterator[bytes]:
        yield self._stored


def frames_are_read_or_refused(frames: list[bytes], algorithm: Compression) -> None:
    """Bytes of frames make an archive that says what is wrong with them, or is what they are."""
    entry = _defining_entry()
    table = FramedTable(
        oid=7, copy_statement="COPY public.t (a) FROM stdin;\n", frames=[Frame(f) for f in frames]
    )
    writer = ArchiveWriter(
        ArchiveReader([entry]), [table], compression=algorithm, compressors=COMPRESSORS, threads=1
    )
    try:
        contents = read(b"".join(writer.stream()))
    except (ArchiveDamaged, SnapshotDamaged):
        return
    text = b"".join(frames)
    if algorithm is Compression.ZSTD:
        text = b"".join(zstd.decompress(frame) for frame in frames if frame)
    assert contents.tables[0].raw_bytes == len(text)


def _defining_entry() -> bytes:
    """Return an archive that defines table 7 and has no data."""

    def integer(value: int) -> bytes:
        return (b"\1" if value < 0 else b"\0") + abs(value).to_bytes(4, "little")

    def string(value: bytes | None) -> bytes:
        return integer(-1) if value is None else integer(len(value)) + value

    def entry(number: int, tag: bytes, kind: bytes, oid: bytes, definition: bytes) -> bytes:
        parts = [integer(number), integer(0), string(b"1259"), string(oid), string(tag)]
        parts += [string(kind), integer(2), string(definition), string(None), string(None)]
        parts += [string(b"public"), string(None), string(None), string(b"postgres")]
        parts += [string(b"false"), string(None), b"\3", bytes(8)]
        return b"".join(parts)

    head = b"PGDMP\1\17\0\4\10\1\0" + b"".join(map(integer, (1, 2, 3, 4, 5, 126, 0)))
    head += string(b"db") + string(b"16") + string(b"16") + integer(2)
    encoding = b"SET client_encoding = 'UTF8';\n"
    return (
        head
        + entry(1, b"ENCODING", b"ENCODING", b"0", encoding)
        + entry(2, b"t", b"TABLE", b"7", b"CREATE TABLE public.t (a integer);\n")
    )


some_rows = st.lists(st.sampled_from([b"1\n", b"\\N\n", b"\\.", b"\\.\n", b"\n", b"2", b""]))
frames_of_any_kind = st.lists(
    st.one_of(
        some_rows.map(b"".join),
        some_rows.map(lambda parts: zstd.compress(b"".join(parts))),
        st.binary(max_size=40),
        st.binary(max_size=20).map(lambda junk: zstd.compress(b"1\n") + junk),
    ),
    max_size=4,
)
test_frames, test_frames_campaign = both(
    frames_are_read_or_refused,
    frames=frames_of_any_kind,
    algorithm=st.sampled_from([Compression.NONE, Compression.GZIP, Compression.ZSTD]),
)


def rows_are_read_or_refused(chunks: list[bytes]) -> None:
    try:
        for row in rows(chunks):
            assert b"\n" not in row
            fields(row)
    except ArchiveDamaged:
        return
    text = b"".join(chunks)
    assert text.rstrip(b"\n").endswith(b"\\.")


test_rows, test_rows_campaign = both(
    rows_are_read_or_refused,
    chunks=st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b"\\.\n", b"\n", b"\\"]))),
)
