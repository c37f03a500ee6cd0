"""Archives that were written here, in the hands of the stock pg_restore."""

import base64
import io
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from backports import zstd

from alexandria_backup.archive.contents import ArchiveContents, survey
from alexandria_backup.archive.injection import FramedTable
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import Compression
from alexandria_backup.archive.writer import ArchiveWriter
from alexandria_backup.errors import ArchiveDamaged, SnapshotDamaged
from alexandria_backup.sealing.compression import archive_decompressor
from alexandria_backup.sealing.digests import RowDigest

GOLDEN = sorted((Path(__file__).parent / "data").glob("*.pgdump"))
AWKWARD = '"Schema ü, 1"."Tab ""x"" ä."'
FRAMED = (AWKWARD, "public.numbers", "public.wide", "public.no_columns", "public.parts_1")
COMPRESSORS = {Compression.ZSTD: lambda data: zstd.compress(data, 1)}


def into_file(writer: ArchiveWriter) -> bytes:
    file = io.BytesIO()
    assert writer.write_to(file) == len(file.getvalue())
    return file.getvalue()


def surveyed(data: bytes) -> ArchiveContents:
    reader = ArchiveReader([data], decompressors={Compression.ZSTD: archive_decompressor})
    return survey(reader, digest=RowDigest)


# ── what is read and written again is the same ───────────────────────────────────────────────────


@pytest.mark.parametrize("options", [("--compress=0",), ("--compress=9",), ()])
def test_an_archive_written_again_is_the_same(
    sample: Any, tmp_path: Path, options: Sequence[str]
) -> None:
    path = tmp_path / "stock.pgdump"
    sample.dump(f"--file={path}", *options)
    stock = path.read_bytes()
    assert into_file(ArchiveWriter(ArchiveReader([stock]))) == stock
    piped = sample.dump(*options)
    assert b"".join(ArchiveWriter(ArchiveReader([piped])).stream()) == piped


def test_statistics_are_kept(server18: Any, new_database: Any) -> None:
    conninfo = new_database(server18).reveal()
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 99) AS n")
        connection.execute("CREATE INDEX ON t (n)")
        connection.execute("ANALYZE")
    program = str(server18.bin_dir / "pg_dump")
    command = [program, "--format=custom", "--statistics", f"--dbname={conninfo}"]
    stock = subprocess.run(command, check=True, capture_output=True).stdout
    reader = ArchiveReader([stock])
    assert "STATISTICS DATA" in {entry.description for entry in reader.entries}
    assert b"".join(ArchiveWriter(reader).stream()) == stock


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_archives_are_written_again(path: Path) -> None:
    stock = path.read_bytes()
    reader = ArchiveReader([stock])
    placed = any(entry.offset for entry in reader.entries)
    writer = ArchiveWriter(reader)
    again = into_file(writer) if placed else b"".join(writer.stream())
    # Those without offsets have a second end, which is for nobody.
    assert stock.startswith(again)
    assert placed == (stock == again)


@pytest.mark.parametrize("algorithm", [2, 3])
def test_bodies_of_any_algorithm_are_copied(craft: Any, algorithm: int) -> None:
    archive = craft(algorithm=algorithm, bodies=[[b"one", b"two"], []]).build()
    assert b"".join(ArchiveWriter(ArchiveReader([archive])).stream()) == archive


@pytest.mark.parametrize("minor", [12, 13, 14, 15, 16])
def test_any_version_is_copied(craft: Any, minor: int) -> None:
    archive = craft(minor=minor, bodies=[[b"\\.\n\n\n"]], created=(60, 5, 4, 3, 1, 126, 1)).build()
    assert b"".join(ArchiveWriter(ArchiveReader([archive])).stream()) == archive


def test_names_in_any_encoding_are_copied(craft: Any) -> None:
    archive = craft(bodies=[[b"\\.\n\n\n"]], tag=b"M\xfcller \x81", encoding="SQL_ASCII").build()
    assert b"".join(ArchiveWriter(ArchiveReader([archive])).stream()) == archive


# ── framed tables ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def base(sample: Any) -> bytes:
    """An archive without the rows of some tables, as the engine has it dumped."""
    return base_of(sample)


def base_of(sample: Any, *options: str) -> bytes:
    excluded = [f"--exclude-table-data={table}" for table in quoted(FRAMED)]
    dumped: bytes = sample.dump("--compress=0", *excluded, *options)
    assert {table.name for table in surveyed(dumped).tables} == {"doubled", "empty", "parts_0"}
    return dumped


def quoted(tables: Sequence[str]) -> list[str]:
    return [re.sub(r"^public\.(.*)$", r'"public"."\1"', table) for table in tables]


@pytest.fixture
def restored(sample: Any, new_database: Any) -> Callable[..., dict[str, Any]]:
    """Restore an archive into a new database, and tell what is in it."""

    def run(*steps: Sequence[str], archive: bytes | None = None) -> dict[str, Any]:
        conninfo = new_database(sample.server).reveal()
        for arguments in steps:
            program = str(sample.server.bin_dir / "pg_restore")
            command = [program, f"--dbname={conninfo}", *arguments]
            ended = subprocess.run(command, input=archive, capture_output=True, check=False)
            assert (ended.returncode, ended.stderr.decode()) == (0, "")
        return digests(sample, conninfo)

    return run


@pytest.fixture
def framed(sample: Any, copied_tables: Callable[..., list[FramedTable]]) -> list[FramedTable]:
    tables = copied_tables(sample, *FRAMED)
    assert max(len(table.frames) for table in tables) > 3
    return tables


@dataclass(frozen=True, kw_only=True)
class Written:
    """What is to be restored, and the rows that are then to be there."""

    base: bytes
    framed: Sequence[FramedTable]
    rows: dict[str, Any]

    def __call__(self, compression: str) -> ArchiveWriter:
        return written(self.base, self.framed, compression)


@pytest.fixture
def written_base(sample: Any, base: bytes, framed: list[FramedTable]) -> Written:
    return Written(base=base, framed=framed, rows=digests(sample, sample.conninfo))


def written(
    base: bytes, framed: Sequence[FramedTable], compression: str = "none", **options: Any
) -> ArchiveWriter:
    return ArchiveWriter(
        ArchiveReader([base]),
        framed,
        compression=Compression(compression),
        compressors=COMPRESSORS,
        **options,
    )


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("threads", [1, 3])
def test_contents_are_those_of_a_stock_dump(
    sample: Any, base: bytes, framed: list[FramedTable], compression: str, threads: int
) -> None:
    if compression == "zstd" and sample.server.major < 16:
        pytest.skip("the format of pg_dump 15 has no zstd")
    stock = surveyed(sample.dump())
    ours = surveyed(b"".join(written(base, framed, compression, threads=threads).stream()))
    assert [described(table) for table in ours.tables] == [
        described(table) for table in stock.tables
    ]
    assert ours.large_objects == stock.large_objects


def described(table: Any) -> tuple[Any, ...]:
    return (table.schema, table.name, table.target, table.rows, table.raw_bytes, table.digest)


def test_entries_stand_where_pg_dump_puts_them(
    sample: Any, base: bytes, framed: list[FramedTable]
) -> None:
    def shown(data: bytes) -> list[Any]:
        entries = ArchiveReader([data]).entries
        names = {entry.dump_id: (entry.description, entry.tag) for entry in entries}
        return [
            (
                entry.description,
                entry.namespace,
                entry.tag,
                entry.owner,
                entry.oid,
                entry.copy_statement,
                # Boundaries between sections have numbers, and no entry.
                {names[number] for number in entry.dependencies if number in names},
            )
            for entry in entries
        ]

    ours = b"".join(written(base, framed).stream())
    assert shown(ours) == shown(sample.dump())
    numbers = [entry.dump_id for entry in ArchiveReader([ours]).entries]
    assert len(set(numbers)) == len(numbers)


def test_offsets_lead_to_the_blocks(base: bytes, framed: list[FramedTable]) -> None:
    data = into_file(written(base, framed, "gzip"))
    entries = [entry for entry in ArchiveReader([data]).entries if entry.had_dumper]
    for entry in entries:
        assert entry.offset is not None
        assert data[entry.offset] in (1, 3)
        assert int.from_bytes(data[entry.offset + 2 : entry.offset + 6], "little") == entry.dump_id
    # pg_restore estimates the size of a table by the distance to the next.
    offsets = [entry.offset or 0 for entry in entries]
    assert offsets == sorted(offsets)


def test_the_script_is_that_of_a_stock_dump(
    sample: Any, base: bytes, framed: list[FramedTable]
) -> None:
    ours = script(sample, b"".join(written(base, framed, "gzip").stream()))
    assert ours == script(sample, sample.dump())


def script(sample: Any, archive: bytes) -> list[str]:
    program = str(sample.server.bin_dir / "pg_restore")
    made = subprocess.run(
        [program, "--create", "--file=-"], input=archive, check=True, capture_output=True
    )
    lines = made.stdout.decode().splitlines()
    # Their key is random.
    return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]


SECTIONS = ("--section=pre-data",), ("--section=data",), ("--section=post-data",)


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize(
    "steps",
    [((),), (("--jobs=2",),), (("--single-transaction",),), SECTIONS],
    ids=["plain", "jobs", "transaction", "sections"],
)
def test_a_file_restores(
    written_base: Written, restored: Any, tmp_path: Path, compression: str, steps: Any
) -> None:
    path = tmp_path / "ours.pgdump"
    with path.open("wb") as file:
        written_base(compression).write_to(file)
    found = restored(*((*arguments, str(path)) for arguments in steps))
    assert found == written_base.rows


@pytest.mark.parametrize("jobs", [(), ("--jobs=2",)], ids=["plain", "jobs"])
def test_a_stream_kept_in_a_file_restores(
    written_base: Written, restored: Any, tmp_path: Path, jobs: tuple[str, ...]
) -> None:
    path = tmp_path / "streamed.pgdump"
    path.write_bytes(b"".join(written_base("gzip").stream()))
    assert restored((*jobs, str(path))) == written_base.rows


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_standard_input_restores(written_base: Written, restored: Any, compression: str) -> None:
    data = b"".join(written_base(compression).stream())
    assert restored(("--exit-on-error",), archive=data) == written_base.rows


def test_one_table_restores(written_base: Written, restored: Any, tmp_path: Path) -> None:
    path = tmp_path / "ours.pgdump"
    path.write_bytes(into_file(written_base("gzip")))
    found = restored(("--table=numbers", str(path)))
    assert found == {"numbers": written_base.rows["numbers"]}


def digests(sample: Any, conninfo: str) -> dict[str, Any]:
    """What a stock dump of a database holds, by table."""
    program = str(sample.server.bin_dir / "pg_dump")
    command = [program, "--format=custom", "--compress=0", f"--dbname={conninfo}"]
    contents = surveyed(subprocess.run(command, check=True, capture_output=True).stdout)
    return {table.name: described(table) for table in contents.tables}


def test_frames_are_embedded_as_they_are_stored(
    craft: Any, one_table: Callable[..., FramedTable]
) -> None:
    stored = [zstd.compress(b"1\n" * 3_000_000), zstd.compress(b"2\n")]
    table = one_table(stored=stored)
    data = b"".join(written(defining(craft), [table], "zstd").stream())
    assert all(frame in data for frame in stored)
    (contents,) = surveyed(data).tables
    assert contents.rows == 3_000_001


def test_a_long_frame_ends_with_a_chunk(craft: Any, one_table: Callable[..., FramedTable]) -> None:
    # What does not compress spans several chunks; pg_restore drops what follows a frame in one.
    text = base64.b64encode(random.Random(1).randbytes(2_000_000)) + b"\n"
    stored = [zstd.compress(text, 1), zstd.compress(text, 1)]
    assert len(stored[0]) > 1 << 20
    data = b"".join(written(defining(craft), [one_table(stored=stored)], "zstd").stream())
    (contents,) = surveyed(data).tables
    assert contents.rows == 2


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_table_without_rows(
    craft: Any, one_table: Callable[..., FramedTable], compression: str
) -> None:
    for table in (one_table(), one_table(b""), one_table(b"", b"")):
        data = b"".join(written(defining(craft), [table], compression).stream())
        assert [t.rows for t in surveyed(data).tables] == [0]


def test_a_frame_that_ends_inside_a_row_is_refused(
    craft: Any, one_table: Callable[..., FramedTable]
) -> None:
    with pytest.raises(SnapshotDamaged, match="inside a row"):
        list(written(defining(craft), [one_table(b"1\n2", b"3\n")]).stream())


def test_what_a_frame_raises_comes_through(craft: Any) -> None:
    class Broken:
        def text(self) -> Iterator[bytes]:
            yield b"1\n"
            raise SnapshotDamaged("object `x` is not what it was")

        zstd = text

    table = FramedTable(oid=7, copy_statement="COPY public.t (a) FROM stdin;\n", frames=[Broken()])
    for compression in ("none", "gzip", "zstd"):
        with pytest.raises(SnapshotDamaged, match="object `x`"):
            list(written(defining(craft), [table], compression).stream())


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_what_is_cut_off_is_missed(
    craft: Any, one_table: Callable[..., FramedTable], compression: str
) -> None:
    table = one_table(*(b"row %d\n" % n for n in range(20)))
    data = b"".join(written(defining(craft), [table], compression).stream())
    assert [t.rows for t in surveyed(data).tables] == [20]
    for end in range(len(data)):
        with pytest.raises(ArchiveDamaged):
            surveyed(data[:end])
    # A body that ends early, with its terminator: pg_restore ends with 0 on this, but for gzip.
    for end in ends_of_chunks(data):
        with pytest.raises(ArchiveDamaged):
            surveyed(data[:end] + b"\0" * 5)


def ends_of_chunks(data: bytes) -> list[int]:
    """Where a chunk of the only block begins, so that another ends."""
    reader = ArchiveReader([data])
    at = reader._source.offset + 6
    ends = []
    while size := int.from_bytes(data[at + 1 : at + 5], "little"):
        ends.append(at)
        at += 5 + size
    return ends


def test_the_table_must_be_defined_and_empty(
    craft: Any, one_table: Callable[..., FramedTable]
) -> None:
    with pytest.raises(ArchiveDamaged, match="does not define the table of OID 7"):
        written(craft().build(), [one_table(b"1\n")])
    with pytest.raises(ArchiveDamaged, match="has data of the table of OID 7 already"):
        written(defining(craft), [one_table(b"1\n"), one_table(b"2\n")])


def test_numbers_that_are_only_depended_on_are_not_given_again(
    craft: Any, one_table: Callable[..., FramedTable]
) -> None:
    # pg_dump's boundaries between sections: in no entry, and yet taken.
    data = b"".join(written(defining(craft), [one_table(b"1\n")]).stream())
    entries = ArchiveReader([data]).entries
    (added,) = (entry for entry in entries if entry.description == "TABLE DATA")
    assert added.dump_id == 301
    assert added.dependencies == (20,)


def defining(craft: Any) -> bytes:
    made = craft(minor=16)
    made.extra_entries = [
        made.entry(20, b"TABLE", tag=b"t", namespace=b"public", catalogue=b"1259", oid=b"7"),
        made.entry(21, b"INDEX", section=4, dependencies=(20, 300)),
    ]
    data: bytes = made.build()
    return data


@pytest.fixture
def one_table(rows_of: Any) -> Callable[..., FramedTable]:
    def make(*texts: bytes, stored: Sequence[bytes] = ()) -> FramedTable:
        frames = [rows_of(data=text) for text in texts]
        frames += [rows_of(data=zstd.decompress(frame), stored=(frame,)) for frame in stored]
        return FramedTable(oid=7, copy_statement="COPY public.t (a) FROM stdin;\n", frames=frames)

    return make
