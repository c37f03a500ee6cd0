"""Try to make a snapshot take over a frame whose rows have changed: it must never.

Each round does something at random to one table, with transactions left open, rolled back, prepared
or lost, and then takes a snapshot from the one before. The oracle reads every frame that was taken
over, in the snapshot's own transaction, and compares it byte for byte with what is stored.
"""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from copying_support import DURABLE, Desk, frames

from alexandria_backup.copying.copy_request import CopiedDatabase
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.marker_rows import create_markers
from alexandria_backup.postgres.page_ranges import PageRange, copy_range_statement
from alexandria_backup.repository.manifest_parts import TablePart

SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE TABLE busy (id int PRIMARY KEY, n int, m mood, p pair, body text) WITH (fillfactor = 70);
INSERT INTO busy SELECT i, i, 'ok'::mood, (i, 'y'::text)::pair, repeat(md5(i::text), 3)
    FROM generate_series(1, 600) AS i;
"""

Connection = psycopg.Connection[tuple[Any, ...]]


class Chaos:
    """Somebody who does to a table whatever applications, operators and fate do to one."""

    def __init__(self, seed: int, desk: Desk) -> None:
        self.random = random.Random(seed)
        self.desk = desk
        self.number = 0
        self.open: list[Connection] = []
        self.prepared: list[str] = []

    def act(self) -> str:
        """Do one thing, and tell which."""
        action = self.random.choice(self.ACTIONS)
        # What collides with something that was left open, or was done before, is no action.
        with suppress(
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DuplicateObject,
            # VACUUM waits for five seconds before it gives up what it would cut off.
            psycopg.errors.QueryCanceled,
        ):
            action(self)
        return action.__name__

    def write(self) -> None:
        with self._connection() as connection:
            self._change(connection)

    def write_in_savepoints(self) -> None:
        with self._connection() as connection, connection.transaction():
            for _ in range(3):
                with suppress(ZeroDivisionError), connection.transaction():
                    self._change(connection)
                    _ = 1 // self.random.choice((0, 1))

    def roll_back(self) -> None:
        with self._connection() as connection, connection.transaction(force_rollback=True):
            self._change(connection)

    def leave_open(self) -> None:
        connection = self._connection()
        connection.autocommit = False
        self.open.append(connection)
        self._change(connection)
        connection.execute("SAVEPOINT s")
        self._change(connection)

    def end_what_is_open(self) -> None:
        while self.open:
            with self.open.pop() as connection:
                self.random.choice((connection.commit, connection.rollback))()

    def prepare(self) -> None:
        name = f"p{self._next()}"
        with self._connection() as connection, suppress(psycopg.errors.QueryCanceled):
            connection.execute("BEGIN")
            self._change(connection)
            connection.execute(f"PREPARE TRANSACTION '{name}'".encode())
            self.prepared.append(name)

    def end_what_is_prepared(self) -> None:
        with self._connection() as connection:
            while self.prepared:
                how = self.random.choice(("COMMIT", "ROLLBACK"))
                connection.execute(f"{how} PREPARED '{self.prepared.pop()}'".encode())

    def delete_and_insert_in_the_same_place(self) -> None:
        one = self.random.randint(1, 600)
        self._run(f"DELETE FROM busy WHERE id = {one}")
        self._run("VACUUM busy")
        self._run(f"INSERT INTO busy (id, body) VALUES ({one}, repeat('z', 96))")

    def vacuum(self) -> None:
        self._run(self.random.choice(("VACUUM busy", "VACUUM FREEZE busy")))

    def rewrite(self) -> None:
        self.end_what_is_open()
        self.end_what_is_prepared()
        self._run(self.random.choice(("VACUUM FULL busy", "CLUSTER busy USING busy_pkey")))

    def truncate_and_reload(self) -> None:
        self.end_what_is_open()
        self.end_what_is_prepared()
        with self._connection() as connection, connection.transaction():
            connection.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM busy")
            connection.execute("TRUNCATE busy")
            connection.execute("INSERT INTO busy SELECT * FROM kept ORDER BY random()")
            connection.execute("DROP TABLE kept")

    def alter_the_table(self) -> None:
        self.end_what_is_open()
        self.end_what_is_prepared()
        if self._next() % 2:
            self._run(f"ALTER TABLE busy ADD COLUMN c{self.number} int DEFAULT {self.number}")
        else:
            self._run("ALTER TABLE busy DROP COLUMN n, ADD COLUMN n int DEFAULT 5")

    def alter_a_type(self) -> None:
        self.end_what_is_open()
        self.end_what_is_prepared()
        if self._next() % 2:
            label = self.desk.sql("SELECT enumlabel FROM pg_enum ORDER BY random() LIMIT 1")[0][0]
            self._run(f"ALTER TYPE mood RENAME VALUE '{label}' TO 'l{self.number}'")
        else:
            self._run(f"ALTER TYPE pair ADD ATTRIBUTE a{self.number} int")

    def lock_rows(self) -> None:
        with self._connection() as connection, connection.transaction():
            connection.execute("SELECT FROM busy WHERE id % 7 = 0 FOR UPDATE SKIP LOCKED")

    def do_nothing(self) -> None:
        pass

    def be_busy_elsewhere(self) -> None:
        self._run("SELECT pg_current_xact_id()")

    ACTIONS: Sequence[Callable[["Chaos"], None]] = (
        *(write, write, write, write_in_savepoints, roll_back, leave_open, end_what_is_open),
        *(prepare, end_what_is_prepared, delete_and_insert_in_the_same_place, vacuum, rewrite),
        *(truncate_and_reload, alter_the_table, alter_a_type, lock_rows, do_nothing),
        *(be_busy_elsewhere, do_nothing),
    )

    def _change(self, connection: Connection) -> None:
        at, width = self.random.randint(1, 600), self.random.choice((1, 5, 40))
        rows = f"id BETWEEN {at} AND {at + width}"
        statement = self.random.choice(
            (
                f"UPDATE busy SET body = repeat(md5(random()::text), 3) WHERE {rows}",
                f"UPDATE busy SET body = repeat('x', 20000) WHERE id = {at}",
                f"DELETE FROM busy WHERE {rows}",
                "INSERT INTO busy (id, body) SELECT i, 'new' "
                f"FROM generate_series({at}, {at + width}) i "
                "ON CONFLICT (id) DO UPDATE SET body = 'again'",
                # The table keeps its size, or the rounds would grow slower and slower.
                "INSERT INTO busy (id, body) SELECT i, 'back' FROM generate_series(1, 600) i"
                " ON CONFLICT DO NOTHING",
            )
        )
        connection.execute(statement.encode())

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _run(self, statement: str) -> None:
        with self._connection() as connection:
            connection.execute(statement.encode())

    def _connection(self) -> Connection:
        return psycopg.connect(
            self.desk.dsn.conninfo().reveal(),
            autocommit=True,
            options="-c lock_timeout=200ms -c statement_timeout=5s",
        )


class Oracle:
    """Compares what was taken over with what stands in the database, within the snapshot."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.looks = self.taken = self.read = 0

    def look(self, session: Session, tables: Sequence[TablePart]) -> None:
        self.looks += 1
        for table in tables:
            for frame in table.framed.frames if table.framed else ():
                if frame.taken_from is None:
                    self.read += 1
                    continue
                self.taken += 1
                pages = PageRange(first=frame.first_page, end=frame.end_page)
                statement = copy_range_statement(
                    table.schema_name, table.name, table.columns, pages, encoding="UTF8"
                )
                assert b"".join(session.copy_out(statement)) == self.desk.text(frame), (
                    f"`{table.name}` from page {frame.first_page} was taken over and had changed"
                )


def rounds(desk: Desk, *, number: int, seed: int) -> Oracle:
    """Do `number` rounds; the actions are told where one fails."""
    chaos, oracle = Chaos(seed, desk), Oracle(desk)
    copied: CopiedDatabase | None = None
    done: list[str] = []
    try:
        for _ in range(number):
            done += [chaos.act() for _ in range(chaos.random.randint(1, 3))]
            # What is left open must not hold up the next snapshot's locks.
            copied = desk.take(copied, look=oracle.look)
    except Exception as error:
        error.add_note(f"seed {seed}: {', '.join(done[-12:])}")
        raise
    finally:
        chaos.end_what_is_open()
        chaos.end_what_is_prepared()
    return oracle


@pytest.fixture
def busy(desk: Desk) -> Desk:
    desk.sql(SCHEMA)
    return desk


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Callable[[Oracle], None]:
    """Let the end of the run say how often it was tried."""

    def count(oracle: Oracle) -> None:
        record_property(
            "count: snapshots that might have taken over what had changed", oracle.looks
        )
        record_property("count: frames that were taken over, each compared", oracle.taken)
        record_property("count: frames that were read", oracle.read)

    return count


def test_a_frame_that_has_changed_is_never_taken_over(
    busy: Desk, counted: Callable[[Oracle], None]
) -> None:
    oracle = rounds(busy, number=40, seed=1)
    counted(oracle)
    assert oracle.taken > 100
    assert oracle.read > 100


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(100, 130))
def test_thousands_of_frames_that_have_changed_are_never_taken_over(
    busy: Desk, seed: int, counted: Callable[[Oracle], None]
) -> None:
    oracle = rounds(busy, number=150, seed=seed)
    counted(oracle)
    assert oracle.taken > 250


# ── what happens to a server as a whole ──────────────────────────────────────────────────────────


@pytest.fixture
def own(server_folder: Path, tmp_path: Path) -> Iterator[tuple[EmbeddedServer, Desk]]:
    """A server for one test, to be crashed or put back from a copy."""
    folder = server_folder / tmp_path.name
    with EmbeddedServer.start(folder, settings=DURABLE) as server:
        dsn = Dsn.parse(server.conninfo("postgres"))
        with connect(dsn, purpose="test") as session:
            create_markers(session)
        desk = Desk(dsn=dsn, major=18, folder=tmp_path)
        desk.sql(SCHEMA)
        yield server, desk


def test_what_a_crash_took_is_not_taken_over(own: tuple[EmbeddedServer, Desk]) -> None:
    """A commit that was never flushed is seen by a snapshot, lost, and its id used again."""
    server, desk = own
    oracle = Oracle(desk)
    first = desk.take()
    for text in ("lost", "kept"):
        desk.sql(f"SET synchronous_commit = off;\nUPDATE busy SET body = '{text}' WHERE id = 5")
        second = desk.take(first, look=oracle.look)
        server.crash()
        server.restart()
        desk.take(second, look=oracle.look)
    assert oracle.taken > 0


def test_a_data_folder_put_back_from_a_copy_is_another_history(
    own: tuple[EmbeddedServer, Desk], tmp_path: Path
) -> None:
    server, desk = own
    desk.sql("CHECKPOINT")
    copy = tmp_path / "copy"
    server.crash()
    shutil.copytree(server.data_dir, copy, symlinks=True)
    server.restart()
    # The same number of transactions in both histories: ids, pages and LSNs come out alike.
    desk.sql("UPDATE busy SET body = 'one' WHERE id = 5")
    first = desk.take()
    server.crash()
    owner = server.data_dir.stat()
    shutil.rmtree(server.data_dir)
    shutil.copytree(copy, server.data_dir, symlinks=True)
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", server.data_dir], check=True)
    server.restart()
    desk.sql(
        "UPDATE busy SET body = 'two' WHERE id = 5;\nUPDATE busy SET body = 'six' WHERE id = 6"
    )
    oracle = Oracle(desk)
    second = desk.take(first, look=oracle.look)
    assert oracle.taken == 0
    assert second.objection is not None


def test_ids_that_have_gone_round_are_not_taken_for_old_ones(
    own: tuple[EmbeddedServer, Desk], tmp_path: Path
) -> None:
    """A frozen row keeps its id; after a wraparound a new row may carry the same one."""
    server, desk = own
    desk.sql("VACUUM FREEZE busy")
    (old,) = desk.sql("SELECT xmin::text::bigint FROM busy LIMIT 1")[0]
    first = desk.take()
    for database in ("postgres", "template1"):
        with psycopg.connect(server.conninfo(database).reveal(), autocommit=True) as connection:
            connection.execute("VACUUM FREEZE")
    server.stop()
    _set_next_id(server, epoch=1, next_id=old - 1)
    with EmbeddedServer.start(server.log_file.parent, settings=DURABLE) as again:
        desk.dsn = Dsn.parse(again.conninfo("postgres"))
        desk.sql("UPDATE busy SET body = 'new under an old id' WHERE id = 5")
        oracle = Oracle(desk)
        second = desk.take(first, look=oracle.look)
        assert oracle.taken == 0 or not any(
            b"old id" in desk.text(frame)
            for frame in frames(second, "busy")
            if frame.taken_from is not None
        )


def _set_next_id(server: EmbeddedServer, *, epoch: int, next_id: int) -> None:
    """Let transaction ids go on from somewhere else, as after two thousand million of them."""
    folder = server.data_dir
    owner = folder.stat()
    pages = folder / "pg_xact" / f"{next_id // (8192 * 4 * 32):04X}"
    if not pages.exists():
        pages.write_bytes(bytes(8192 * 32))
        subprocess.run(["chown", f"{owner.st_uid}:{owner.st_gid}", pages], check=True)
    subprocess.run(
        [
            server.bin_dir / "pg_resetwal",
            *("--epoch", str(epoch), "--next-transaction-id", str(next_id)),
            *("--pgdata", str(folder)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        user=owner.st_uid,
        group=owner.st_gid,
    )
