"""What goes wrong around a `snapshot create` into a repository, from the database's side first."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from oracle_support import Good, brought_back, keep_in_frames
from site_support import Ended, Site
from small_disks import SmallDisk
from wire_support import Statement, Wire, wired

from alexandria_backup.errors import StorageError, StoreUnreachable
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.marker_rows import create_markers
from alexandria_backup.storage import locate
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb
from alexandria_backup.storage.retry import Patience
from alexandria_backup.wiring import stores

NewSite = Callable[..., Site]


@pytest.fixture(scope="module")
def durable_server(server_folder: Any) -> Iterator[EmbeddedServer]:
    """A server whose history can be trusted: with `fsync`."""
    settings = {"fsync": "on", "shared_buffers": "32MB", "autovacuum": "off"}
    with EmbeddedServer.start(server_folder / "durable-faults", settings=settings) as server:
        yield server


@pytest.fixture
def saver(new_site: NewSite, durable_server: EmbeddedServer) -> Site:
    """A site with a snapshot, where what has not changed since can be taken over."""
    site = keep_in_frames(new_site(durable_server))
    with connect(Dsn.parse(durable_server.conninfo(site.database)), purpose="test") as session:
        create_markers(session)
    assert site.run("snapshot", "create").returncode == 0
    return site


def snapshots(site: Site) -> list[str]:
    ended = site.run("snapshot", "list", "--json")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return [one["id"] for line in lines if line["event"] == "result" for one in line["result"]]


def assert_failed_well(site: Site, ended: Ended, *, mentions: str = "") -> None:
    """Assert that a failure said what happened, and left nothing in the way."""
    if ended.returncode == 3:
        # Only `pg_dumpall` may fail and leave a snapshot, as it does where a role lacks rights.
        assert "roles are not in the snapshot" in ended.stderr
    else:
        assert ended.returncode != 0, ended.stdout
        assert "error" in ended.stderr
    assert mentions in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((site.repository / "leases").rglob("*-*"))
    assert not list(site.repository.rglob("*.part"))


def lose_mail(site: Site) -> None:
    site.sql("UPDATE customer SET email = 'gone'")


def assert_whole(site: Site, before: list[str]) -> None:
    """Assert that earlier snapshots are whole, and that the next one works with no help."""
    assert set(before) <= set(snapshots(site))
    assert site.run("snapshot", "verify", "--deep", before[-1]).returncode == 0
    good = Good(site=site)
    created = site.run("snapshot", "create")
    assert created.returncode == 0, created.stderr
    assert not list((site.repository / "partials").rglob("*.*"))
    assert site.run("snapshot", "verify", "--deep", "latest").returncode == 0
    brought_back(site, "latest", good=good, damage=lose_mail)


# ── a connection that is cut ─────────────────────────────────────────────────────────────────────


def change(site: Site) -> None:
    site.sql("UPDATE track SET composer = coalesce(composer, '') || '+' WHERE track_id %% 100 = 0")


def end_backend(site: Site, statement: Statement) -> None:
    """Let the server end the session, and wait until it is gone."""
    ended = "SELECT pg_terminate_backend(%s, 10000)"
    assert site.value(ended, statement.pid, database="postgres") is True


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
    if len(wire.statements) >= number:
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

#: What a session of ours sends once, at the beginning, in the middle and late.
BEFORE_LOCKS = "LOCK TABLE ONLY"
AFTER_LOCKS = "pg_export_snapshot"
AT_FIRST_ROWS = "COPY (SELECT"


def when_first(wire: Wire, text: str, act: Callable[[], object]) -> None:
    """Do something before the first statement with this text reaches the server."""
    pending = [text]

    def do(statement: Statement) -> None:
        if pending and pending[0] in statement.text:
            pending.clear()
            act()

    wire.before = do


def created_during(site: Site, moment: str, act: Callable[[], object]) -> Ended:
    acted: list[bool] = []
    with wired(site) as wire:
        when_first(wire, moment, lambda: (act(), acted.append(True)))
        ended = site.run("snapshot", "create")
    assert acted, wire.statements
    return ended


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
@pytest.mark.parametrize("moment", [AFTER_LOCKS, AT_FIRST_ROWS])
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


@pytest.mark.parametrize("target", ["ROLE", "DATABASE"])
def test_timeouts_of_an_administrator_do_not_end_a_snapshot(saver: Site, target: str) -> None:
    admin = saver.value("SELECT current_user")
    names = [saver.database] if target == "DATABASE" else [saver.role, admin]
    timeouts = (
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "transaction_timeout",
    )
    try:
        for name in names:
            for timeout in timeouts:
                saver.sql(f'ALTER {target} "{name}" SET {timeout} = 1000', database="postgres")
        # The snapshot's transaction stays open, and idle, for longer than any limit.
        ended = created_during(saver, AT_FIRST_ROWS, lambda: time.sleep(1.5))
    finally:
        with psycopg.connect(
            saver.server.conninfo("postgres").reveal(), autocommit=True, options=_NO_LIMITS
        ) as connection:
            for name in names:
                connection.execute(f'ALTER {target} "{name}" RESET ALL'.encode())
    assert ended.returncode == 0, ended.stderr
    assert "not in the snapshot" not in ended.stderr
    assert saver.run("snapshot", "verify", "--deep", "latest").returncode == 0


_NO_LIMITS = " ".join(
    f"-c {name}=0"
    for name in ("statement_timeout", "lock_timeout", "idle_session_timeout", "transaction_timeout")
)


# ── stores that fail ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait between two tries."""
    monkeypatch.setattr(Patience, "pauses", lambda _: iter([0.0] * 3))


@contextmanager
def failing(fault: Fault) -> Iterator[None]:
    """Let every store that the program opens have a fault, below what tries again."""
    opened: list[FaultyStore] = []

    def open_faulty(*given: Any) -> FaultyStore:
        opened.append(FaultyStore(locate.open_store(*given), [fault]))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "open_store", open_faulty)
        yield
    struck = [store for store in opened if store.calls[fault.verb] >= max(fault.call, 1)]
    assert struck, "the fault never came"


VERBS: tuple[Verb, ...] = ("put", "get", "list", "head", "delete")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", [How.BEFORE, How.AFTER, How.MIDDLE])
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


# ── a file system that is full ───────────────────────────────────────────────────────────────────


ROOM = [
    ("snapshots", 200_000),
    ("state", 8_192),
    *(
        pytest.param(place, leave, marks=pytest.mark.campaign)
        for place, leave in (
            *(("snapshots", leave) for leave in (0, 8_192, 40_000, 400_000, 900_000)),
            *(("state", leave) for leave in (0, 4_096, 12_288, 16_384, 24_576)),
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
