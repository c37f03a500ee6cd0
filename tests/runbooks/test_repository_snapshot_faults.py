"""What goes wrong around a `snapshot create` into a repository, from the database's side first."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from oracle_support import Good, brought_back, keep_in_frames
from repository_snapshot_support import (
    AFTER_LOCKS,
    AT_FIRST_ROWS,
    BEFORE_LOCKS,
    NewSite,
    assert_failed_well,
    assert_whole,
    change,
    created_during,
    lose_mail,
    running,
    snapshots,
)
from site_support import Site
from small_disks import SmallDisk
from wire_support import Statement, wired

from alexandria_backup.errors import StorageError, StoreDenied, StoreUnreachable
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.queries import load
from alexandria_backup.storage import locate, open_retrying
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb
from alexandria_backup.storage.retry import Patience


@pytest.fixture
def saver(saver: Site) -> Site:
    """A site with a snapshot, where what has not changed since can be taken over."""
    assert saver.run("snapshot", "create").returncode == 0
    return saver


# ── a connection that is cut ─────────────────────────────────────────────────────────────────────


def end_backend(site: Site, statement: Statement) -> None:
    """Let the server end the session, and wait until it is gone."""
    ended = "SELECT pg_terminate_backend(%s, 10000)"
    assert site.value(ended, statement.pid, database="postgres") is True


#: What a session begins with: one that ends there is opened anew, since limits may end it.
AT_LOGIN = {load("session")[name].strip() for name in ("backend_pid", "settle")}


def created_while_cut(site: Site, number: int) -> None:
    """Take a snapshot, and end the session of the n-th statement before it gets there."""

    def end_it(statement: Statement) -> None:
        if statement.number == number:
            # Only a backend that is ended sends a last message.
            if number % 2:
                statement.cut()
            else:
                end_backend(site, statement)

    with wired(site) as wire:
        wire.before = end_it
        ended = site.run("snapshot", "create")
    # How many statements there are depends on what is read: one of the last may never come.
    if len(wire.statements) >= number and wire.statements[number - 1].strip() not in AT_LOGIN:
        assert_failed_well(site, ended)
    else:
        assert ended.returncode == 0, ended.stderr


def statements_of_one(site: Site) -> int:
    with wired(site) as wire:
        assert site.run("snapshot", "create").returncode == 0
    return len(wire.statements)


@pytest.mark.parametrize("eighth", range(8))
def test_a_connection_cut_at_a_statement_hurts_nothing(saver: Site, eighth: int) -> None:
    before = snapshots(saver)
    change(saver)
    number = 1 + (2 * eighth + 1) * statements_of_one(saver) // 16
    change(saver)
    created_while_cut(saver, number)
    assert_whole(saver, before)


@pytest.mark.campaign
@pytest.mark.parametrize("remainder", range(8))
def test_a_connection_cut_at_every_statement_hurts_nothing(saver: Site, remainder: int) -> None:
    for number in range(remainder + 1, statements_of_one(saver) + 1, 8):
        before = snapshots(saver)
        change(saver)
        created_while_cut(saver, number)
        assert_whole(saver, before)


# ── statements of others meanwhile ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE playlist_track",
        "CREATE TABLE late AS SELECT 1 AS a",
        "ALTER TABLE track ADD COLUMN late int DEFAULT 7",
        "TRUNCATE playlist_track",
    ],
)
def test_what_is_altered_before_the_locks_is_in_the_snapshot(saver: Site, statement: str) -> None:
    ended = created_during(saver, BEFORE_LOCKS, lambda: saver.sql(statement))
    assert ended.returncode == 0, ended.stderr
    good = Good(site=saver)
    brought_back(saver, "latest", good=good, damage=lose_mail)


def test_a_table_made_after_the_locks_is_not_in_the_snapshot(saver: Site) -> None:
    before = Good(site=saver)
    ended = created_during(
        saver, AT_FIRST_ROWS, lambda: saver.sql("CREATE TABLE late AS SELECT 1 AS a")
    )
    assert ended.returncode == 0, ended.stderr
    brought_back(saver, "latest", good=before, damage=lambda _: None, code=3)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE playlist_track",
        "ALTER TABLE track ADD COLUMN late int DEFAULT 7",
        "TRUNCATE playlist_track",
        "VACUUM FULL track",
    ],
)
@pytest.mark.parametrize(
    "moment", [AFTER_LOCKS, pytest.param(AT_FIRST_ROWS, marks=pytest.mark.campaign)]
)
def test_whoever_queues_for_a_lock_gets_it(saver: Site, statement: str, moment: str) -> None:
    before = snapshots(saver)
    saver.sql("UPDATE track SET composer = 'somebody'")
    saver.sql("DELETE FROM playlist_track WHERE track_id %% 7 = 0")
    queued = threading.Thread(target=saver.sql, args=(statement,))

    def queue() -> None:
        queued.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        while queued.is_alive() and not saver.value(waits):
            time.sleep(0.01)

    ended = created_during(saver, moment, queue)
    queued.join(60)
    assert not queued.is_alive()
    # Late in the run, all may have their locks already: then the snapshot ends well before that.
    if moment == AFTER_LOCKS or ended.returncode != 0:
        assert ended.returncode not in {0, 3}
        assert_failed_well(saver, ended, mentions="lock")
        assert "hint:" in ended.stderr
    else:
        assert saver.run("snapshot", "verify", "--deep", "latest").returncode == 0
    assert_whole(saver, before)


# ── timeouts that an administrator has set ───────────────────────────────────────────────────────


TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)


@contextmanager
def limited(site: Site, milliseconds: int, altered: Sequence[str]) -> Iterator[None]:
    """Let an administrator set every limit while the block runs: `ALTER … SET`."""
    conninfo = site.server.conninfo("postgres").reveal()
    with psycopg.connect(conninfo, autocommit=True, options=_NO_LIMITS) as administrator:

        def alter(what: str) -> None:
            for target in altered:
                administrator.execute(f"ALTER {target} {what}".encode())
            administrator.execute("SELECT pg_reload_conf()")

        try:
            for timeout in TIMEOUTS:
                alter(f"SET {timeout} = {milliseconds}")
            if "SYSTEM" in altered:
                # What ends a session before it has begun is nothing that a client can lift.
                alter("SET transaction_timeout = 1000")
            yield
        finally:
            alter("RESET ALL")


@pytest.mark.parametrize("milliseconds", [1, 1000])
@pytest.mark.parametrize("target", ["ROLE", "DATABASE", "SYSTEM"])
def test_timeouts_of_an_administrator_do_not_end_a_snapshot(
    saver: Site, target: str, milliseconds: int
) -> None:
    names = {
        "ROLE": [f'ROLE "{saver.role}"', f'ROLE "{saver.value("SELECT current_user")}"'],
        "DATABASE": [f'DATABASE "{saver.database}"'],
        "SYSTEM": ["SYSTEM"],
    }
    with limited(saver, milliseconds, names[target]):
        # The snapshot's transaction stays open, and idle, for longer than any limit.
        ended = created_during(saver, AT_FIRST_ROWS, lambda: time.sleep(1.5))
    assert ended.returncode == 0, ended.stderr
    assert "not in the snapshot" not in ended.stderr
    assert saver.run("snapshot", "verify", "--deep", "latest").returncode == 0


_NO_LIMITS = " ".join(
    f"-c {name}=0"
    for name in ("statement_timeout", "lock_timeout", "idle_session_timeout", "transaction_timeout")
)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_heard_while_the_server_is_silent(saver: Site, how: signal.Signals) -> None:
    before = snapshots(saver)
    change(saver)
    silent, over = threading.Event(), threading.Event()

    def fall_silent(statement: Statement) -> None:
        if AT_FIRST_ROWS in statement.text:
            silent.set()
            assert over.wait(120)

    with wired(saver) as wire, running(saver, "snapshot", "create") as process:
        wire.before = fall_silent
        try:
            assert silent.wait(60)
            process.send_signal(how)
            assert process.wait(60) == 130
        finally:
            over.set()
    assert not list((saver.repository / "leases").rglob("*-*"))
    assert_whole(saver, before)


# ── stores that fail ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait between two tries."""
    monkeypatch.setattr(Patience, "pauses", lambda _: iter([0.0] * 3))


@contextmanager
def failing(fault: Fault) -> Iterator[None]:
    """Let every store that the program opens have a fault, below what tries again."""
    opened: list[FaultyStore] = []
    open_store = locate.open_store

    def open_faulty(*given: Any) -> FaultyStore:
        opened.append(FaultyStore(open_store(*given), [fault]))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_retrying, "open_store", open_faulty)
        yield
    struck = [store for store in opened if store.calls[fault.verb] >= max(fault.call, 1)]
    assert struck, "the fault never came"


VERBS: tuple[Verb, ...] = ("put", "get", "list", "head", "delete")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "how",
    [
        How.BEFORE,
        *(pytest.param(how, marks=pytest.mark.campaign) for how in (How.AFTER, How.MIDDLE)),
    ],
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_store_that_stumbles_once_is_asked_again(saver: Site, verb: Verb, how: How) -> None:
    change(saver)
    with failing(Fault(verb=verb, how=how, call=2)):
        ended = saver.run("snapshot", "create")
    assert ended.returncode == 0, ended.stderr
    assert_whole(saver, snapshots(saver))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", [StorageError, StoreUnreachable])
@pytest.mark.parametrize("verb", ["put", "list"])
def test_a_store_that_keeps_failing_ends_the_snapshot(
    saver: Site, verb: Verb, error: type[StorageError]
) -> None:
    before = snapshots(saver)
    change(saver)
    with failing(Fault(verb=verb, how=How.BEFORE, call=0, error=error)):
        ended = saver.run("snapshot", "create")
    assert ended.returncode not in {0, 3}
    assert_failed_well(saver, ended, mentions="failed on purpose")
    assert_whole(saver, before)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("verb", ["get", "list"])
def test_answers_that_are_cut_short_are_not_believed(saver: Site, verb: Verb) -> None:
    before = snapshots(saver)
    change(saver)
    with failing(Fault(verb=verb, how=How.SHORT, call=0)):
        saver.run("snapshot", "create")
    assert_whole(saver, before)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("error", [StoreDenied, StorageError])
@pytest.mark.parametrize(("damaged", "code"), [(False, 3), (True, 20)])
def test_a_result_that_cannot_be_kept_hides_nothing(
    saver: Site, error: type[StorageError], damaged: bool, code: int
) -> None:
    if damaged:
        objects = [path for path in (saver.repository / "objects").rglob("*") if path.is_file()]
        max(objects, key=lambda path: path.stat().st_size).unlink()
    with failing(Fault(verb="put", how=How.BEFORE, call=2, error=error)):
        verified = saver.run("snapshot", "verify", "--deep", "latest")
    assert verified.returncode == code, verified.stderr
    assert "the result is not kept" in verified.stderr


# ── a file system that is full ───────────────────────────────────────────────────────────────────


ROOM = [
    ("snapshots", 200_000),
    ("state", 8_192),
    *(
        pytest.param(place, leave, marks=pytest.mark.campaign)
        for place, leave in (
            *(("snapshots", leave) for leave in (0, 8_192, 40_000, 400_000, 900_000)),
            *(("state", leave) for leave in (0, 4_096, 12_288, 16_384, 20_480)),
        )
    ),
]


@pytest.mark.parametrize(("place", "leave"), ROOM)
def test_a_full_file_system_ends_a_snapshot_and_hurts_nothing(
    new_site: NewSite,
    durable_server: EmbeddedServer,
    small_disk: Callable[[Path, int], SmallDisk],
    place: str,
    leave: int,
) -> None:
    site = new_site(durable_server)
    disk = small_disk(site.folder / place, 8_000)
    keep_in_frames(site)
    assert site.run("snapshot", "create").returncode == 0
    before = snapshots(site)
    site.sql(
        "CREATE TABLE noise AS SELECT string_agg(md5(random()::text || i || j), '') AS body "
        "FROM generate_series(1, 300) AS i, generate_series(1, 200) AS j GROUP BY i"
    )
    disk.fill(leave)
    ended = site.run("snapshot", "create")
    assert_failed_well(site, ended, mentions="hint:")
    assert "no space left" in ended.stderr.lower() or "bytes free" in ended.stderr
    disk.make_room()
    assert_whole(site, before)


def test_what_is_on_a_full_disk_can_be_restored(
    new_site: NewSite,
    durable_server: EmbeddedServer,
    small_disk: Callable[[Path, int], SmallDisk],
) -> None:
    site = new_site(durable_server)
    disk = small_disk(site.folder / "snapshots", 20_000)
    keep_in_frames(site)
    assert site.run("snapshot", "create").returncode == 0
    good = site.fingerprint()
    lose_mail(site)
    disk.fill(0)
    restored = site.run("restore", "latest", "--yes")
    # There is no room for the safety snapshot; the database that was replaced is kept all the same.
    assert restored.returncode == 3, restored.stderr
    assert site.fingerprint() == good
    disk.make_room()
    assert site.run("repository", "check").returncode == 0
