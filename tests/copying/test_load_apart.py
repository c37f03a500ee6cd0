"""A snapshot taken apart and loaded by several sessions: all of it, or an error and no session."""

import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from copying_support import Desk, archive_of

from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.copying import load_rows
from alexandria_backup.copying.load_apart import can_go_on
from alexandria_backup.copying.load_archive import load_archive
from alexandria_backup.copying.load_rows import RowsLoad, TableLoad
from alexandria_backup.copying.loading import Loading, LoadOptions
from alexandria_backup.copying.snapshot_archive import SnapshotArchive
from alexandria_backup.errors import AlexandriaError, Interrupted, ProofFailed, SnapshotDamaged
from alexandria_backup.events import Event, Progress
from alexandria_backup.postgres.client_tools import find_client_tools
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.manifest_parts import FramePart, TablePart

SCHEMA = """
CREATE TABLE parents (id int PRIMARY KEY, word text UNIQUE);
CREATE TABLE children (id int, parent int REFERENCES parents, body text, at timestamptz);
CREATE INDEX by_parent ON children (parent, id);
COMMENT ON INDEX by_parent IS 'by its parent';
ALTER TABLE children REPLICA IDENTITY FULL;
CREATE TABLE empty (id int PRIMARY KEY);
CREATE TABLE nothing ();
INSERT INTO parents SELECT n, 'word ' || n FROM generate_series(1, 1000) AS n;
INSERT INTO children SELECT n, 1 + n % 1000, repeat(md5(n::text), 3), '2026-01-01'
    FROM generate_series(1, 5000) AS n;
INSERT INTO nothing SELECT FROM generate_series(1, 10);
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM children;
CREATE TABLE parts (id int, word text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (500);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (500) TO (9999);
INSERT INTO parts SELECT n, 'x' FROM generate_series(1, 1000) AS n;
CREATE SEQUENCE counter START 42;
SELECT lo_from_bytea(4294967290, 'large object')
"""


@dataclass(kw_only=True)
class Target:
    """An empty database to load into."""

    dsn: Dsn
    events: list[Event]

    def load(
        self, archive: SnapshotArchive, jobs: int = 2, *, pinned: bool = False
    ) -> tuple[str, ...]:
        return load_archive(
            Loading(
                tools=find_client_tools(18),
                dsn=self.dsn,
                server_major=18,
                archive=archive,
                entries=ArchiveReader(archive.chunks()).entries,
                options=LoadOptions(jobs=jobs),
                emit=self.events.append,
                pinned=pinned,
            )
        )

    def all(self, query: str) -> list[tuple[Any, ...]]:
        conninfo = self.dsn.conninfo().reveal()
        with psycopg.connect(conninfo, client_encoding="UTF8") as connection:
            return connection.execute(query.encode()).fetchall()

    def is_left_alone(self) -> bool:
        """Wait until no session is left: a server needs a moment after the client has gone."""
        return any(self._sessions() == 0 or threading.Event().wait(0.05) for _ in range(400))

    def _sessions(self) -> int:
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        return int(self.all(query)[0][0])


@pytest.fixture
def target(durable_server: EmbeddedServer, new_database: Any) -> Target:
    return Target(dsn=Dsn.parse(new_database(durable_server)), events=[])


@pytest.fixture
def archive(desk: Desk) -> SnapshotArchive:
    desk.sql(SCHEMA)
    made = archive_of(desk)
    assert len(named(made, "children").framed.frames) > 5  # type: ignore[union-attr]  # it is
    return made


def named(archive: SnapshotArchive, name: str) -> TablePart:
    return next(table for table in archive.tables if table.name == name)


ROWS = """
    SELECT 'parents', count(*), sum(hashtextextended(t::text, 0)) FROM parents AS t
    UNION ALL SELECT 'children', count(*), sum(hashtextextended(t::text, 0)) FROM children AS t
    UNION ALL SELECT 'parts', count(*), sum(hashtextextended(t::text, 0)) FROM parts AS t
    UNION ALL SELECT 'nothing', count(*), 0 FROM nothing
    UNION ALL SELECT 'empty', count(*), 0 FROM empty
    UNION ALL SELECT 'counted', count, 0 FROM counted
    UNION ALL SELECT 'objects', count(*), sum(oid::int8) FROM pg_largeobject_metadata
"""
OBJECTS = """
    SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'comment', obj_description('by_parent'::regclass)
    UNION ALL SELECT 'identity', relreplident::text FROM pg_class WHERE relname = 'children'
    ORDER BY 1, 2
"""


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_everything_is_there_whatever_the_number_of_sessions(
    archive: SnapshotArchive, desk: Desk, target: Target, jobs: int
) -> None:
    target.load(archive, jobs)
    source = replace(target, dsn=desk.dsn)
    assert sorted(target.all(ROWS)) == sorted(source.all(ROWS))
    assert target.all(OBJECTS) == source.all(OBJECTS)
    assert target.is_left_alone()


def test_rows_that_are_in_at_the_same_moment_lead_to_one_index(
    archive: SnapshotArchive, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_rows, "wait", lambda pending, **_: wait(pending))
    target.load(archive, jobs=5)
    assert len(target.all("SELECT FROM pg_indexes WHERE tablename = 'children'")) == 1


def test_progress_adds_up(archive: SnapshotArchive, target: Target) -> None:
    target.load(archive)
    told = [event for event in target.events if isinstance(event, Progress)]
    assert told[-1].done == told[-1].total
    assert [event.done for event in told] == sorted(event.done for event in told)


def test_indexes_are_built_before_all_rows_are_in(
    archive: SnapshotArchive, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows of `children` wait until the key of `parents` is there.
    waited: list[bool] = []

    @contextmanager
    def apart(archive: SnapshotArchive) -> Any:
        with original(archive) as parts:
            yield replace(
                parts,
                tables=tuple(
                    table if "children" not in table.label else waiting(table)
                    for table in sorted(parts.tables, key=lambda t: "children" in t.label)
                ),
            )

    def waiting(table: Any) -> Any:
        *others, last = table.rows
        return replace(table, rows=(*others, replace(last, text=lambda: after_key(last.text))))

    def after_key(text: Callable[[], Any]) -> Any:
        for _ in range(500):
            if target.all("SELECT 1 FROM pg_constraint WHERE conname = 'parents_pkey'"):
                waited.append(True)
                break
            threading.Event().wait(0.02)
        yield from text()

    original = SnapshotArchive.apart
    monkeypatch.setattr(SnapshotArchive, "apart", apart)
    target.load(archive)
    assert waited == [True]


FRAMED = {f"public.{name}" for name in ("parents", "children", "parts_low", "parts_high")}


@pytest.mark.parametrize("jobs", [1, 4])
def test_what_the_server_has_is_compared_with_what_it_was_fed(
    archive: SnapshotArchive, target: Target, jobs: int
) -> None:
    assert set(target.load(archive, jobs, pinned=True)) >= FRAMED
    assert target.is_left_alone()


def test_rows_that_the_archive_renders_otherwise_are_not_compared(
    archive: SnapshotArchive, target: Target
) -> None:
    assert target.load(archive) == ()


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────


def changed(archive: SnapshotArchive, change: Callable[[FramePart], FramePart]) -> SnapshotArchive:
    table = named(archive, "children")
    assert table.framed is not None
    *others, last = table.framed.frames
    framed = table.framed.model_copy(update={"frames": (*others, change(last))})
    other = table.model_copy(update={"framed": framed})
    return replace(archive, tables=tuple(other if t is table else t for t in archive.tables))


def test_a_frame_with_other_rows_stops_the_load(archive: SnapshotArchive, target: Target) -> None:
    fewer = changed(archive, lambda f: f.model_copy(update={"rows": f.rows + 1}))
    with pytest.raises(SnapshotDamaged, match=r"frame of `public\.children` from page"):
        target.load(fewer)
    assert target.is_left_alone()


def test_a_damaged_object_stops_the_load(
    archive: SnapshotArchive, desk: Desk, target: Target
) -> None:
    part = named(archive, "children").framed.frames[3].parts[0]  # type: ignore[union-attr]
    (Path(desk.folder) / object_name(part.object)).unlink()
    with pytest.raises(SnapshotDamaged, match=part.object):
        target.load(archive, jobs=3)
    assert target.is_left_alone()


def test_rows_that_the_server_refuses_stop_the_load(
    archive: SnapshotArchive, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows of one table in another: the server finds out at the first of them.
    @contextmanager
    def apart(archive: SnapshotArchive) -> Any:
        with original(archive) as parts:
            first, second, *others = sorted(parts.tables, key=lambda t: -len(t.rows))
            yield replace(parts, tables=(replace(first, rows=second.rows), second, *others))

    original = SnapshotArchive.apart
    monkeypatch.setattr(SnapshotArchive, "apart", apart)
    with pytest.raises(AlexandriaError, match=r"missing data|invalid input|extra data"):
        target.load(archive)
    assert target.is_left_alone()


def test_an_interrupt_ends_every_session(archive: SnapshotArchive, target: Target) -> None:
    with pytest.raises(Interrupted):
        replace(target, events=_Interrupting()).load(archive)
    assert target.is_left_alone()


class _Interrupting(list[Event]):
    """Whoever tells of progress is interrupted."""

    def append(self, event: Event) -> None:
        if isinstance(event, Progress):
            raise Interrupted("interrupted")


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE children SET body = body || '.' WHERE id = 77", "with other contents"),
        ("DELETE FROM children WHERE id = 77", "4,999 rows, 5,000 expected"),
        ("INSERT INTO children SELECT * FROM children WHERE id = 77", "5,001 rows"),
    ],
)
def test_rows_that_are_others_on_the_server_stop_the_load(
    archive: SnapshotArchive,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    what: str,
) -> None:
    # As a server would that does not keep what it is given.
    def read_back(load: RowsLoad, table: TableLoad) -> None:
        if table.table.label == "public.children":
            with psycopg.connect(target.dsn.conninfo().reveal()) as connection:
                connection.execute(statement.encode())
        original(load, table)

    original = RowsLoad._read_back
    monkeypatch.setattr(RowsLoad, "_read_back", read_back)
    with pytest.raises(ProofFailed, match=what):
        target.load(archive, pinned=True)
    assert target.is_left_alone()


def test_a_database_that_is_not_empty_is_an_error(archive: SnapshotArchive, target: Target) -> None:
    target.load(archive)
    with pytest.raises(AlexandriaError, match="already exists"):
        target.load(archive)
    assert target.is_left_alone()


# ── going on ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Watched:
    """Which rows are asked for; the last ones of `children` may be kept from coming."""

    target: Target
    stop: bool
    asked: list[tuple[str, int]] = field(default_factory=list)

    @contextmanager
    def apart(self, archive: SnapshotArchive) -> Any:
        with APART(archive) as parts:
            yield replace(parts, tables=tuple(map(self._table, parts.tables)))

    def _table(self, table: Any) -> Any:
        return replace(
            table,
            rows=tuple(
                replace(rows, text=partial(self._text, table, number, rows.text))
                for number, rows in enumerate(table.rows)
            ),
        )

    def _text(self, table: Any, number: int, text: Callable[[], Any]) -> Any:
        self.asked.append((table.label, number))
        if self.stop and table.label == "public.children" and number == len(table.rows) - 1:
            notes = "SELECT 1 FROM alexandria_backup_load.notes WHERE note = 'base'"
            assert any(self.target.all(notes) or threading.Event().wait(0.02) for _ in range(900))
            raise Interrupted("killed")
        yield from text()


APART = SnapshotArchive.apart


@pytest.fixture
def stopped(
    archive: SnapshotArchive, target: Target, monkeypatch: pytest.MonkeyPatch
) -> tuple[Watched, list[tuple[str, int]]]:
    """A load that ended before the last rows; and what it has loaded, as the database knows."""
    watched = Watched(target, stop=True)

    def apart(archive: SnapshotArchive) -> Any:
        return watched.apart(archive)

    monkeypatch.setattr(SnapshotArchive, "apart", apart)
    with pytest.raises(Interrupted):
        target.load(archive)
    assert target.is_left_alone()
    found = target.all("SELECT note FROM alexandria_backup_load.notes WHERE note LIKE 'rows %'")
    labels = {table.framed.oid: table for table in archive.tables if table.framed}
    places = [note.split()[1:] for (note,) in found]
    loaded = [
        (f"{labels[int(oid)].schema_name}.{labels[int(oid)].name}", int(number))
        for oid, number in places
    ]
    assert len(loaded) > 5
    return watched, loaded


@pytest.mark.parametrize("changed", [False, True])
def test_a_load_that_goes_on_compares_what_was_loaded_before(
    archive: SnapshotArchive, target: Target, stopped: Any, changed: bool
) -> None:
    watched, loaded = stopped
    watched.stop, watched.asked = False, []
    if not changed:
        assert set(target.load(archive, pinned=True)) >= FRAMED
        assert set(watched.asked) >= set(loaded)
        return
    with psycopg.connect(target.dsn.conninfo().reveal()) as connection:
        connection.execute("UPDATE children SET id = -id WHERE id = (SELECT min(id) FROM children)")
    with pytest.raises(ProofFailed, match="other contents"):
        target.load(archive, pinned=True)


def test_a_load_goes_on_and_loads_nothing_twice(
    archive: SnapshotArchive, desk: Desk, target: Target, stopped: Any
) -> None:
    watched, loaded = stopped
    watched.stop, watched.asked = False, []
    target.load(archive)
    assert not set(watched.asked) & set(loaded)
    assert ("public.children", len(frames_of(archive, "children")) - 1) in watched.asked
    source = replace(target, dsn=desk.dsn)
    assert sorted(target.all(ROWS)) == sorted(source.all(ROWS))
    assert target.all(OBJECTS) == source.all(OBJECTS)
    # Nothing tells of it afterwards.
    assert target.all("SELECT to_regnamespace('alexandria_backup_load')") == [(None,)]


def frames_of(archive: SnapshotArchive, name: str) -> Any:
    framed = named(archive, name).framed
    assert framed is not None
    return framed.frames


@pytest.mark.parametrize("note", ["rest begun", "base"])
def test_what_pg_restore_has_left_half_done_is_not_gone_on_with(
    archive: SnapshotArchive, target: Target, stopped: Any, note: str
) -> None:
    with connect(target.dsn, purpose="test") as session:
        assert can_go_on(session, archive.identity)
        assert not can_go_on(session, "another archive")
        if note == "base":
            session.execute("DELETE FROM alexandria_backup_load.notes WHERE note = 'base'")
        else:
            session.execute("INSERT INTO alexandria_backup_load.notes VALUES ('rest begun')")
        assert not can_go_on(session, archive.identity)


def test_sessions_of_a_killed_load_are_ended_first(
    archive: SnapshotArchive, target: Target, stopped: Any
) -> None:
    # A pg_restore that has outlived its master, in the middle of a table.
    with psycopg.connect(target.dsn.conninfo().reveal()) as survivor:
        survivor.execute("LOCK TABLE public.children IN ACCESS EXCLUSIVE MODE")
        stopped[0].stop = False
        target.load(archive)
        with pytest.raises(psycopg.OperationalError):
            survivor.execute("SELECT 1")


# ── encodings ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def encoded(durable_server: EmbeddedServer) -> Any:
    """Make a database of an encoding."""
    made: list[str] = []

    def run(statement: str) -> None:
        conninfo = durable_server.conninfo("postgres").reveal()
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement.encode())

    def make(encoding: str) -> Dsn:
        made.append(f"encoded_{encoding.lower()}_{len(made)}")
        run(f"CREATE DATABASE {made[-1]} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        return Dsn.parse(durable_server.conninfo(made[-1]))

    yield make
    for name in made:
        run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1251", "EUC_JP", "SQL_ASCII"])
def test_names_and_values_of_any_encoding_come_back(
    encoded: Callable[[str], Dsn], tmp_path: Path, encoding: str
) -> None:
    word = {"LATIN1": "Grüße", "WIN1251": "Привет", "EUC_JP": "日本"}.get(encoding, "ascii")
    source, target = encoded(encoding), encoded(encoding)
    statements = (
        f'CREATE TABLE "{word} 1" ("{word} a" text PRIMARY KEY, b int);'
        f"INSERT INTO \"{word} 1\" SELECT '{word} ' || n, n FROM generate_series(1, 3000) AS n;"
        f'CREATE TABLE "a {word}" AS SELECT * FROM "{word} 1"'
    )
    conninfo = source.conninfo().reveal()
    with psycopg.connect(conninfo, client_encoding="UTF8") as connection:
        connection.execute(statements.encode())
    archive = archive_of(Desk(dsn=source, major=18, folder=tmp_path))
    assert {table.name for table in archive.tables} == {f"{word} 1", f"a {word}"}
    assert archive.archive.encoding == encoding
    loaded = Target(dsn=target, events=[])
    loaded.load(archive, jobs=2)
    query = f'SELECT sum(hashtextextended(t::text, 0)) FROM "{word} 1" AS t'
    assert loaded.all(query) == Target(dsn=source, events=[]).all(query)
    # As one archive, too, and by the stock pg_restore.
    by_stock = Target(dsn=encoded(encoding), events=[])
    program = str(find_client_tools(18).pg_restore)
    command = [program, "--exit-on-error", f"--dbname={by_stock.dsn.conninfo().reveal()}"]
    subprocess.run(command, input=b"".join(archive.chunks()), check=True, capture_output=True)
    assert by_stock.all(query) == loaded.all(query)


def test_a_comment_on_what_was_built_early_comes_in_with_nothing_listed_before_it(
    desk: Desk, target: Target
) -> None:
    desk.sql(
        "CREATE TABLE alone (id int PRIMARY KEY); INSERT INTO alone VALUES (1);"
        "COMMENT ON INDEX alone_pkey IS 'of one'"
    )
    target.load(archive_of(desk))
    assert target.all("SELECT obj_description('alone_pkey'::regclass)") == [("of one",)]
