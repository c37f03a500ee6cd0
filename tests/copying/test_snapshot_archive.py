"""A snapshot of a repository, read as one archive: it is what pg_dump would have written."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from copying_support import SEALING, Desk, archive_of

from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import Compression
from alexandria_backup.copying.read_archive import ReadArchive, read_archive, read_chunks
from alexandria_backup.copying.snapshot_archive import SnapshotArchive
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.manifest_parts import FramedPart, TablePart
from alexandria_backup.repository.objects import ObjectShelf

#: All that is awkward, divided by lines of `--`; roles are left out.
SAMPLE = Path(__file__).parents[1] / "archive" / "data" / "sample.sql"
MORE = """
CREATE MATERIALIZED VIEW public.counted AS SELECT count(*) FROM public.numbers
--
CREATE TABLE public.crossed (a int, b int);
INSERT INTO public.crossed SELECT n, -n FROM generate_series(1, 5000) AS n;
ALTER TABLE public.crossed DROP COLUMN a
--
INSERT INTO public.no_columns SELECT FROM generate_series(1, 5000)
"""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A database, its snapshot, and pg_dump's own archive of it."""

    server: EmbeddedServer
    desk: Desk
    archive: SnapshotArchive

    def stock(self, *options: str) -> bytes:
        program = str(self.server.bin_dir / "pg_dump")
        conninfo = self.desk.dsn.conninfo().reveal()
        command = [program, "--format=custom", *options, f"--dbname={conninfo}"]
        return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(params=["debian_server", "server16", "server18"], ids=["debian", "16", "18"])
def taken(request: pytest.FixtureRequest, new_database: Any, tmp_path: Path) -> Taken:
    server: EmbeddedServer = request.getfixturevalue(request.param)
    conninfo = new_database(server)
    with psycopg.connect(conninfo.reveal()) as connection:
        sample = SAMPLE.read_text(encoding="utf-8") + "\n--\n" + MORE
        for statement in sample.split("\n--\n"):
            if not any(word in statement for word in ("GRANT", "OWNER", "POLICY")):
                connection.execute(statement)
    desk = Desk(dsn=Dsn.parse(conninfo), major=server.major, folder=tmp_path)
    return Taken(server=server, desk=desk, archive=archive_of(desk))


def read(archive: SnapshotArchive) -> ReadArchive:
    return read_archive(archive, watch=lambda _: None, emit=lambda _: None)


def test_it_holds_what_a_stock_dump_holds(taken: Taken) -> None:
    ours = read(taken.archive)
    stock = read_chunks([taken.stock("--compress=0")], watch=lambda _: None)
    assert len(taken.archive.tables) > 6
    assert [entry.tag for entry in ours.entries] == [entry.tag for entry in stock.entries]
    assert by_name(ours) == by_name(stock)
    assert ours.contents.large_objects == stock.contents.large_objects
    assert ours.expected_tables()
    assert {table.complete for table in ours.expected_tables()} == {True}


def by_name(found: ReadArchive) -> dict[str, Any]:
    return {
        f"{table.schema}.{table.name}": (table.target, table.rows, table.digest)
        for table in found.contents.tables
    }


def test_it_is_the_same_each_time(taken: Taken) -> None:
    first, second = read(taken.archive), read(taken.archive)
    assert (first.bytes, first.sha256) == (second.bytes, second.sha256)
    assert abs(first.bytes - taken.archive.size()) < 20_000


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_it_is_written_in_any_form(taken: Taken, compression: Compression) -> None:
    if compression is Compression.ZSTD and taken.server.major < 16:
        pytest.skip("the format of pg_dump 15 has no zstd")
    with taken.archive.writer(compression=compression) as writer:
        written = read_chunks(writer.stream(), watch=lambda _: None)
    assert written.header.compression is compression
    assert written.contents == read(taken.archive).contents


def test_the_stock_pg_restore_loads_it(taken: Taken, new_database: Any) -> None:
    conninfo = new_database(taken.server)
    program = str(taken.server.bin_dir / "pg_restore")
    command = [program, "--exit-on-error", f"--dbname={conninfo.reveal()}"]
    data = b"".join(taken.archive.chunks())
    subprocess.run(command, input=data, check=True, capture_output=True)
    again = replace(taken, desk=replace(taken.desk, dsn=Dsn.parse(conninfo)))
    loaded = read_chunks([again.stock()], watch=lambda _: None)
    assert by_name(loaded) == by_name(read(taken.archive))


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def notes(desk: Desk) -> SnapshotArchive:
    """Two tables with a few frames each."""
    desk.sql(
        "CREATE TABLE notes AS SELECT n, md5(n::text) FROM generate_series(1, 3000) AS n;\n"
        "CREATE TABLE words AS SELECT md5(n::text) FROM generate_series(1, 3000) AS n"
    )
    return archive_of(desk)


def framed(table: TablePart) -> FramedPart:
    assert table.framed is not None
    return table.framed


def changed(archive: SnapshotArchive, change: Callable[[FramedPart], dict[str, Any]]) -> Any:
    """The archive with the frames of one table changed."""
    table = named(archive, "notes")
    part = framed(table).model_copy(update=change(framed(table)))
    other = table.model_copy(update={"framed": part})
    return replace(archive, tables=tuple(other if t is table else t for t in archive.tables))


def named(archive: SnapshotArchive, name: str) -> TablePart:
    return next(table for table in archive.tables if table.name == name)


def test_a_missing_object_is_named(notes: SnapshotArchive, desk: Desk) -> None:
    part = framed(named(notes, "notes")).frames[1].parts[0]
    (desk.folder / object_name(part.object)).unlink()
    with pytest.raises(SnapshotDamaged, match=part.object):
        read(notes)


def test_a_frame_with_other_rows_is_refused(notes: SnapshotArchive) -> None:
    def fewer(part: FramedPart) -> dict[str, Any]:
        one, *others = part.frames
        return {"frames": (one.model_copy(update={"rows": one.rows - 1}), *others)}

    with pytest.raises(SnapshotDamaged, match=r"frame of `\S+` from page 0 on holds"):
        read(changed(notes, fewer))


def test_a_base_archive_of_other_parts_is_refused(notes: SnapshotArchive) -> None:
    other = notes.archive.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(SnapshotDamaged, match="the parts of the base archive"):
        read(replace(notes, archive=other))


def test_a_table_that_the_base_archive_lacks_is_refused(notes: SnapshotArchive) -> None:
    with pytest.raises(SnapshotDamaged, match="does not define the table of OID 1"):
        read(changed(notes, lambda _: {"oid": 1}))


def test_it_is_another_when_the_manifest_says_something_else(notes: SnapshotArchive) -> None:
    same = replace(notes, name="other")
    assert same.identity == notes.identity
    assert changed(notes, lambda part: {"frames": part.frames[:1]}).identity != notes.identity


def test_the_entries_alone_cost_no_frame(notes: SnapshotArchive) -> None:
    asked: list[str] = []

    class Watched(ObjectShelf):
        def get_both(self, part: Any, identities: Any = ()) -> Any:
            asked.append(part.object)
            return super().get_both(part, identities)

    watched = replace(notes, open_shelf=lambda: Watched(notes.open_shelf()._store, SEALING))
    assert ArchiveReader(watched.chunks()).entries
    assert asked == [part.object for part in notes.archive.parts]


@pytest.mark.parametrize("threads", [1, 5])
def test_parts_are_read_ahead_without_losing_their_order(
    notes: SnapshotArchive, threads: int
) -> None:
    assert read(replace(notes, threads=threads)).sha256 == read(notes).sha256
