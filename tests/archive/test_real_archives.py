"""Real archives of each version of pg_dump: what is read must be what the server has."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alexandria_backup.archive import inventory
from alexandria_backup.archive.contents import ArchiveContents, survey
from alexandria_backup.archive.copy_text import fields, rows
from alexandria_backup.archive.reader import ArchiveReader, LargeObjectsBlock
from alexandria_backup.archive.toc import Compression, TocEntry
from alexandria_backup.sealing.digests import RowDigest

#: Format version by the major version of pg_dump.
FORMAT = {12: 14, 13: 14, 14: 14, 15: 14, 16: 15, 17: 16, 18: 16}
AWKWARD = 'Tab "x" ä.'
#: What pg_dump pins before it renders values.
PINNED = "SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 3"


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def surveyed(data: bytes, size: int = 65_536) -> ArchiveContents:
    return survey(ArchiveReader(chunked(data, size)), digest=RowDigest)


def live_digest(connection: psycopg.Connection[Any], source: str) -> RowDigest:
    digest = RowDigest()
    with connection.cursor().copy(f"COPY (SELECT * FROM {source}) TO STDOUT") as copy:
        for row in copy:
            digest.add(bytes(row).removesuffix(b"\n"))
    return digest


@pytest.mark.parametrize("level", ["none", "gzip"])
def test_rows_and_digests_equal_the_server(sample: Any, level: str) -> None:
    options = {"none": "--compress=0", "gzip": "--compress=9"}
    data = sample.dump(options[level])
    reader = ArchiveReader(chunked(data, 65_536))
    assert reader.header.compression == Compression(level)
    assert reader.header.version[1] == FORMAT[sample.server.major]
    assert reader.header.database == sample.database
    assert reader.encoding == "UTF8"
    contents = survey(reader, digest=RowDigest)
    found = {(table.schema, table.name): table for table in contents.tables}
    with psycopg.connect(sample.conninfo) as connection:
        connection.execute(PINNED)
        for (schema, name), table in found.items():
            quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
            # A generated column is not dumped, so it must not be selected.
            live = live_digest(
                connection, quoted if name != "doubled" else "(SELECT a FROM public.doubled) AS d"
            )
            assert (table.rows, table.digest) == (live.rows, live.hexdigest()), name
    assert found["Schema ü, 1", AWKWARD].columns == ("B c", "x,y", "(z)", 'é"')
    assert found["public", "no_columns"].columns == ()
    assert found["public", "no_columns"].rows == 7
    assert found["public", "empty"].rows == 0
    assert found["public", "parts_0"].rows + found["public", "parts_1"].rows == 100
    assert ("public", "parts") not in found
    assert contents.unverified == ()


def test_large_objects_equal_the_server(sample: Any) -> None:
    reader = ArchiveReader([sample.dump()])
    found: dict[int, bytes] = {}
    for block in reader.blocks():
        if isinstance(block, LargeObjectsBlock):
            for item in block.objects():
                found[item.oid] = b"".join(item.chunks())
    with psycopg.connect(sample.conninfo) as connection:
        query = "SELECT oid, lo_get(oid) FROM pg_largeobject_metadata"
        assert found == {oid: bytes(content) for oid, content in connection.execute(query)}
    assert set(found) == {4242, 2147483648, 4294967290}
    contents = surveyed(sample.dump())
    assert contents.large_objects.count == 3
    assert contents.large_objects.raw_bytes == sum(map(len, found.values()))


def test_skipped_large_objects_leave_the_next_one_whole(sample: Any) -> None:
    reader = ArchiveReader([sample.dump()])
    seen = []
    for block in reader.blocks():
        if isinstance(block, LargeObjectsBlock):
            for item in block.objects():
                seen.append(item.oid)
                if item.oid == 2147483648:
                    next(item.chunks())
                if item.oid == 4294967290:
                    assert b"".join(item.chunks()) == b"\0\1\2\3"
    assert sorted(seen) == [4242, 2147483648, 4294967290]


def test_values_come_back_exactly(sample: Any) -> None:
    reader = ArchiveReader([sample.dump()])
    found: list[list[bytes | None]] = []
    for block in reader.blocks():
        if block.entry.tag == AWKWARD:
            found = [fields(row) for row in rows(block.chunks())]
    with psycopg.connect(sample.conninfo) as connection:
        query = 'SELECT "B c"::text, "x,y" FROM "Schema ü, 1"."Tab ""x"" ä." ORDER BY 1'
        expected = connection.execute(query).fetchall()
    assert [tuple(v.decode() if v is not None else None for v in row[:2]) for row in found] == (
        expected
    )
    assert [row[2] for row in found] == [b"\\x00ff5c0a", None, b"\\x", b"\\x", None, None]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunks_may_be_cut_anywhere(sample: Any, size: int) -> None:
    data = sample.dump("--exclude-table-data=numbers", "--exclude-table-data=wide", "--no-blobs")
    assert surveyed(data, size) == surveyed(data)


def test_inserts_are_read_and_not_counted(sample: Any) -> None:
    contents = surveyed(sample.dump("--inserts", "--table=public.numbers"))
    (table,) = contents.tables
    assert (table.rows, table.digest, table.target) == (None, None, None)
    assert table.raw_bytes is not None
    assert table.raw_bytes > 30_000 * len("INSERT INTO public.numbers VALUES ")
    assert contents.unverified == ("public.numbers",)


def test_rows_through_the_partition_root_say_where_they_go(sample: Any) -> None:
    contents = surveyed(sample.dump("--load-via-partition-root", "--table=public.parts*"))
    assert sorted(table.name for table in contents.tables) == ["parts_0", "parts_1"]
    assert {table.target.table for table in contents.tables if table.target} == {"parts"}
    assert sum(table.rows or 0 for table in contents.tables) == 100


def test_a_watcher_sees_the_rows_of_its_table_only(sample: Any) -> None:
    seen: list[bytes] = []

    def watch(entry: TocEntry) -> Any:
        return seen.extend if entry.tag == "parts_0" else None

    reader = ArchiveReader([sample.dump()])
    contents = survey(reader, digest=RowDigest, watch=watch)
    (table,) = (table for table in contents.tables if table.name == "parts_0")
    assert len(seen) == table.rows
    assert all(fields(row)[1] == b"word " + (fields(row)[0] or b"") for row in seen)


def test_a_file_and_a_pipe_give_the_same(sample: Any, tmp_path: Path) -> None:
    path = tmp_path / "sample.pgdump"
    sample.dump(f"--file={path}")
    to_file = path.read_bytes()
    assert any(entry.offset for entry in ArchiveReader([to_file]).entries)
    assert surveyed(to_file) == surveyed(sample.dump())


def test_a_file_that_is_standard_output_is_read(sample: Any, tmp_path: Path) -> None:
    # pg_dump 16 and newer write their table of contents a second time, at the end.
    path = tmp_path / "sample.pgdump"
    program = str(sample.server.bin_dir / "pg_dump")
    with path.open("wb") as file:
        command = [program, "--format=custom", f"--dbname={sample.conninfo}"]
        subprocess.run(command, check=True, stdout=file)
    assert surveyed(path.read_bytes()) == surveyed(sample.dump())


def test_a_schema_alone_has_no_data(sample: Any) -> None:
    contents = surveyed(sample.dump("--schema-only"))
    assert contents.tables == ()
    assert contents.large_objects.count == 0


def test_the_inventory_names_what_a_restore_needs(sample: Any) -> None:
    entries = ArchiveReader([sample.dump()]).entries
    assert ("Schema ü, 1", AWKWARD) in inventory.tables(entries)
    assert inventory.schemas(entries) == ("Schema ü, 1",)
    assert [entry.tag for entry in inventory.event_triggers(entries)] == ["watcher"]
    assert [entry.tag for entry in inventory.publications(entries)] == ["everything"]
    assert inventory.subscriptions(entries) == ()
    assert not inventory.creates_public_schema(entries)
    superuser = {"postgres"}
    # `pg_database_owner` owns the schema public from PostgreSQL 15 on.
    assert set(inventory.roles_needed(entries)) - superuser - {"pg_database_owner"} == {
        'Archive, "reader" ü',
        "archive_writer",
        "archive_owner",
        "archive_policy",
        "server",
    }


def test_a_dump_of_public_creates_public(sample: Any) -> None:
    entries = ArchiveReader([sample.dump("--schema=public")]).entries
    assert inventory.creates_public_schema(entries)


def test_pg_restore_takes_the_list(sample: Any, tmp_path: Path) -> None:
    archive, listing = tmp_path / "a.pgdump", tmp_path / "a.list"
    archive.write_bytes(sample.dump())
    entries = ArchiveReader([archive.read_bytes()]).entries
    text = inventory.list_file(entries, lambda entry: entry.description == "SEQUENCE SET")
    listing.write_text(text, encoding="utf-8")
    program = str(sample.server.bin_dir / "pg_restore")
    command = [program, f"--use-list={listing}", "--file=-", str(archive)]
    script = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "setval('public.counter'" in script
    assert "CREATE TABLE" not in script


def test_entries_are_those_of_pg_restore(sample: Any, tmp_path: Path) -> None:
    archive = tmp_path / "a.pgdump"
    archive.write_bytes(sample.dump())
    program = str(sample.server.bin_dir / "pg_restore")
    listed = subprocess.run(
        [program, "--create", "--list", str(archive)],
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stdout
    theirs = [line for line in listed.splitlines() if line and not line.startswith(";")]
    # Encoding, standard strings and search path are read while the list is made, and not listed.
    ours = inventory.list_file(
        ArchiveReader([archive.read_bytes()]).entries,
        lambda entry: entry.description not in ("ENCODING", "STDSTRINGS", "SEARCHPATH"),
    )
    shown = [line for line in ours.splitlines() if not line.startswith(";")]
    assert sorted(line.rstrip("- ") for line in shown) == sorted(
        line.rstrip("- ") for line in theirs
    )
