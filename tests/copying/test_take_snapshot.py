"""What is copied out is what the snapshot sees, and only what changed is read again."""

import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from copying_support import Desk, frames, shelf_in, taken_over

from alexandria_backup.copying.base_archive import base_archive_options
from alexandria_backup.copying.copy_request import CopiedDatabase
from alexandria_backup.errors import (
    ClientToolFailed,
    SnapshotDamaged,
    StatementFailed,
    StorageError,
)
from alexandria_backup.postgres.connect import Session
from alexandria_backup.repository.manifest_parts import TablePart
from alexandria_backup.repository.objects import ObjectShelf

TABLE = """
CREATE TABLE notes (id int PRIMARY KEY, body text, at timestamptz DEFAULT '2026-01-01');
INSERT INTO notes SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 2000) AS i;
"""


@pytest.fixture
def notes(desk: Desk) -> Desk:
    desk.sql(TABLE)
    return desk


def whole_text(desk: Desk, copied: CopiedDatabase, table: str) -> bytes:
    return b"".join(desk.text(frame) for frame in frames(copied, table))


def copy_text(desk: Desk, statement: str) -> bytes:
    with psycopg.connect(desk.dsn.conninfo().reveal()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        with connection.cursor().copy(statement.encode()) as copy:
            return b"".join(map(bytes, copy))


class TestCopyingOut:
    def test_the_frames_joined_are_the_copy_text_of_the_table(self, notes: Desk) -> None:
        copied = notes.take()
        assert len(frames(copied, "notes")) > 5
        assert whole_text(notes, copied, "notes") == copy_text(notes, "COPY notes TO STDOUT")
        assert next(t.rows for t in copied.tables if t.name == "notes") == 2000

    def test_worker_processes_store_what_threads_store(
        self, notes: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_threads = notes.take()
        monkeypatch.setattr("alexandria_backup.copying.take_snapshot._PROCESSES_ABOVE_BYTES", 0)
        notes.jobs = 2
        assert frames(notes.take(), "notes") == frames(in_threads, "notes")

    def test_the_base_archive_holds_the_schema_and_no_row_of_a_framed_table(
        self, notes: Desk
    ) -> None:
        read = notes.take().base.read
        assert any(e.description == "TABLE" and e.tag == "notes" for e in read.entries)
        assert not any(t.name == "notes" for t in read.contents.tables)

    def test_small_tables_stay_in_the_base_archive(self, notes: Desk) -> None:
        copied = notes.take(framing=type(notes.framing)(above_bytes=1024 * 1024))
        assert copied.tables == ()
        assert {t.name: t.rows for t in copied.base.read.contents.tables}["notes"] == 2000

    def test_a_long_row_is_cut_over_several_objects(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("alexandria_backup.copying.worker.PART_BYTES", 1000)
        desk.sql("CREATE TABLE long (t text);\nINSERT INTO long VALUES (repeat('x', 4500)), ('y')")
        copied = desk.take()
        assert [part.raw_bytes for part in frames(copied, "long")[0].parts] == [1000] * 4 + [503]
        assert whole_text(desk, copied, "long") == b"x" * 4500 + b"\ny\n"

    def test_many_frames_are_read_with_one_order_and_come_in_their_order(self, notes: Desk) -> None:
        orders: list[object] = []
        copied = notes.take(emit=orders.append)
        whole = copy_text(notes, "COPY notes TO STDOUT")
        assert whole_text(notes, copied, "notes") == whole
        told = [event for event in orders if getattr(event, "work", "") == "copy out"]
        assert 1 < len(told) < len(frames(copied, "notes"))

    def test_writers_are_not_held_up_and_not_seen(self, notes: Desk) -> None:
        before = copy_text(notes, "COPY notes TO STDOUT")

        def write(session: Session, tables: Sequence[TablePart]) -> None:
            notes.sql("SET lock_timeout = '1s';\nUPDATE public.notes SET body = 'changed'")
            assert session.value("SELECT count(*) FROM public.notes WHERE body = 'changed'") == 0

        assert whole_text(notes, notes.take(look=write), "notes") == before


class TestTakingOver:
    def test_nothing_is_read_again_where_nothing_has_changed(self, notes: Desk) -> None:
        first = notes.take()
        second = notes.take(first)
        assert all(taken_over(second, "notes"))
        assert [f.parts for f in frames(second, "notes")] == [
            f.parts for f in frames(first, "notes")
        ]

    def test_only_the_frames_that_changed_are_read(self, notes: Desk) -> None:
        first = notes.take()
        # In place: a heap-only update stays on its page only where there is room, so delete.
        notes.sql("DELETE FROM notes WHERE id = 1000")
        second = notes.take(first)
        assert taken_over(second, "notes").count(False) == 1
        assert whole_text(notes, second, "notes") == copy_text(notes, "COPY notes TO STDOUT")

    def test_new_rows_cost_the_frames_at_the_end(self, notes: Desk) -> None:
        first = notes.take()
        notes.sql(
            "INSERT INTO notes SELECT i, repeat(md5(i::text), 3) FROM generate_series(3000, 3300) i"
        )
        second = notes.take(first)
        taken = taken_over(second, "notes")
        assert taken == sorted(taken, reverse=True)
        assert not all(taken)
        assert whole_text(notes, second, "notes") == copy_text(notes, "COPY notes TO STDOUT")

    def test_a_frame_keeps_the_snapshot_that_read_it(self, notes: Desk) -> None:
        first = notes.take()
        second = notes.take(first)
        third = notes.take(second)
        assert {f.taken_from for f in frames(third, "notes")} == {"earlier"}

    def test_an_object_that_is_gone_is_read_again(self, notes: Desk) -> None:
        first = notes.take()
        lost = frames(first, "notes")[2].parts[0]
        second = notes.take(
            first, objection_to_part=lambda part: "it is gone" if part == lost else None
        )
        assert taken_over(second, "notes").index(False) == 2
        assert frames(second, "notes")[2].reason == "it is gone"

    @pytest.mark.parametrize(
        ("statement", "reason"),
        [
            ("ALTER TABLE notes ADD COLUMN more int DEFAULT 7", "columns"),
            ("ALTER TABLE notes DROP COLUMN at", "columns"),
            ("ALTER TABLE notes RENAME COLUMN body TO text", "columns"),
            ("VACUUM FULL notes", "storage"),
            ("CLUSTER notes USING notes_pkey", "storage"),
            ("ALTER TABLE notes ALTER COLUMN at TYPE timestamp", "columns"),
        ],
    )
    def test_what_makes_rows_look_different_makes_them_read(
        self, notes: Desk, statement: str, reason: str
    ) -> None:
        first = notes.take()
        notes.sql(statement)
        second = notes.take(first)
        assert not any(taken_over(second, "notes"))
        assert reason in frames(second, "notes")[0].reason
        assert whole_text(notes, second, "notes") == copy_text(notes, "COPY notes TO STDOUT")

    @pytest.mark.parametrize(
        ("definition", "change"),
        [
            ("CREATE TYPE k AS ENUM ('a', 'b')", "ALTER TYPE k RENAME VALUE 'a' TO 'z'"),
            ("CREATE TYPE k AS (x text, y int)", "ALTER TYPE k ADD ATTRIBUTE more int"),
            (
                "CREATE TYPE e AS ENUM ('a');\nCREATE TYPE k AS (x e, y int)",
                "ALTER TYPE e RENAME VALUE 'a' TO 'z'",
            ),
            (
                "CREATE TYPE e AS ENUM ('a');\nCREATE DOMAIN k AS e[]",
                "ALTER TYPE e RENAME VALUE 'a' TO 'z'",
            ),
        ],
    )
    def test_a_type_that_was_altered_makes_its_rows_read(
        self, desk: Desk, definition: str, change: str
    ) -> None:
        desk.sql(f"{definition};\nCREATE TABLE t (k k);\nINSERT INTO t VALUES (NULL)")
        first = desk.take()
        assert all(taken_over(desk.take(first), "t"))
        desk.sql(change)
        assert "types" in frames(desk.take(first), "t")[0].reason

    @pytest.mark.parametrize("column", ["regclass", "regrole", "aclitem", "regtype[]"])
    def test_values_that_name_other_objects_are_always_read(self, desk: Desk, column: str) -> None:
        desk.sql(f"CREATE TABLE t (c {column});\nINSERT INTO t VALUES (NULL)")
        assert "without being touched" in frames(desk.take(desk.take()), "t")[0].reason

    def test_an_unlogged_table_is_always_read(self, desk: Desk) -> None:
        desk.sql("CREATE UNLOGGED TABLE t AS SELECT 1 AS a")
        assert not any(taken_over(desk.take(desk.take()), "t"))

    def test_without_the_schema_of_markers_everything_is_read(self, notes: Desk) -> None:
        notes.sql("DROP SCHEMA alexandria_backup CASCADE")
        second = notes.take(notes.take())
        assert second.objection == "the earlier snapshot could write no marker"
        assert second.new_bytes == 0

    def test_another_history_is_noticed_by_its_missing_marker(self, notes: Desk) -> None:
        first = notes.take()
        notes.sql("DELETE FROM alexandria_backup.markers")
        assert "another history" in (notes.take(first).objection or "")


class TestWhatStandsInTheWay:
    def test_a_table_that_stays_locked_ends_the_attempt(self, notes: Desk) -> None:
        with psycopg.connect(notes.dsn.conninfo().reveal()) as other:
            other.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StatementFailed, match="lock timeout"):
                notes.take()

    def test_whoever_queues_for_a_stronger_lock_does_not_hang_us(self, notes: Desk) -> None:
        others: list[threading.Thread] = []

        def open_shelf() -> ObjectShelf:
            # The coordinator has its locks by now, and whoever opens a shelf has none yet.
            if not others:
                others.append(threading.Thread(target=_alter_or_give_up, args=(notes,)))
                others[0].start()
                _wait_for_queue(notes)
            return shelf_in(notes.folder)

        with pytest.raises((StatementFailed, ClientToolFailed)) as failed:
            notes.take(open_shelf=open_shelf)
        assert "lock" in f"{failed.value.message} {failed.value.hint}"
        others[0].join(30)
        assert notes.take().tables

    def test_a_type_altered_meanwhile_fails_the_snapshot(self, desk: Desk) -> None:
        desk.sql("CREATE TYPE k AS ENUM ('a');\nCREATE TABLE t (k k);\nINSERT INTO t VALUES ('a')")
        with pytest.raises(StatementFailed, match=r"a type of `public\.t` was altered"):
            desk.take(look=lambda *_: desk.sql("ALTER TYPE k RENAME VALUE 'a' TO 'z'"))

    def test_a_store_that_fails_fails_the_snapshot(self, notes: Desk) -> None:
        notes.folder.joinpath("objects").write_text("in the way")
        with pytest.raises(StorageError):
            notes.take()


def _alter_or_give_up(desk: Desk) -> None:
    with psycopg.connect(desk.dsn.conninfo().reveal(), autocommit=True) as other:
        other.execute("SET lock_timeout = '10s'")
        other.execute("ALTER TABLE notes ADD COLUMN IF NOT EXISTS late int")


def _wait_for_queue(desk: Desk) -> None:
    waits = "SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT granted"
    while desk.sql(waits)[0][0] == 0:
        pass


def test_rows_that_would_be_there_twice_are_refused(
    notes: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_exclusions(**given: Any) -> tuple[str, ...]:
        options = base_archive_options(**given)
        return tuple(option for option in options if "--exclude" not in option)

    monkeypatch.setattr(
        "alexandria_backup.copying.take_snapshot.base_archive_options", without_exclusions
    )
    with pytest.raises(SnapshotDamaged, match=r"did not leave out the rows of `\S+`"):
        notes.take()
