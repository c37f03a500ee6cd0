"""Connections that are cut at a statement, servers that crash there, and kills at any moment.

After each the database of the live name is whole, as it was before or as in the snapshot, and
both ways out end well.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import psycopg
import pytest
from oracle_support import Good, keep_in_frames, snapshot
from site_support import Site
from small_disks import SmallDisk, cramped
from wire_support import Statement, wired

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.queries import load

_PYTHON = [sys.executable, "-m", "alexandria_backup"]
#: What a session begins with: one that ends there is opened anew.
_AT_LOGIN = {load("session")[name].strip() for name in ("backend_pid", "settle")}
#: Statements of the database that a step of the restore works on.
_SMALL = """
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
CREATE TABLE parents (id int PRIMARY KEY, word text UNIQUE);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents, body text);
CREATE INDEX by_parent ON children (parent);
CREATE SEQUENCE counter START 42;
INSERT INTO parents SELECT n, 'word ' || n FROM generate_series(1, 300) AS n;
INSERT INTO children SELECT n, 1 + n %% 300, repeat(md5(n::text), 3)
    FROM generate_series(1, 900) AS n;
CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS
    'BEGIN IF current_setting(''a.b'', true) = ''c'' THEN RAISE ''no''; END IF; END';
CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION forbid();
GRANT ALL ON SCHEMA public TO PUBLIC;
"""


@pytest.fixture
def small(site: Site) -> Site:
    """A site whose database has few objects, so that all statements can be tried."""
    return made_small(site)


def made_small(site: Site) -> Site:
    keep_in_frames(site)
    site.sql(_SMALL)
    for table in ("parents", "children"):
        site.sql(f'ALTER TABLE {table} OWNER TO "{site.role}"')
    return site


def damage(site: Site) -> None:
    site.sql("DELETE FROM children WHERE id %% 3 = 0")
    site.sql("UPDATE parents SET word = 'gone ' || id")


class Before:
    """The snapshot, and the database as it is before a restore."""

    def __init__(self, site: Site) -> None:
        self.site = site
        snapshot(site)
        self.good = Good(site=site)
        damage(site)
        self.broken = Good(site=site)

    def assert_whole(self, ending: str) -> None:
        """End what waits, and look: old or new, never a mixture, and nothing is left behind."""
        site = self.site
        for run in site.wiring().runs.all():
            if run.status == "waits":
                yes = ["--yes"] if ending == "resume" else []
                ended = site.run("run", ending, run.run, *yes)
                assert ended.returncode in {0, 3, 40}, ended.stderr
        rows = site.fingerprint()
        assert rows in (self.good.rows, self.broken.rows)
        (self.good if rows == self.good.rows else self.broken).assert_back()
        assert not any("shadow" in name or "_new_" in name for name in site.databases())
        assert site.platform_log[-1:] in ([], ["start"])
        # Whoever comes next finds nothing in the way.
        again = site.run("restore", "latest", "--yes")
        assert again.returncode in {0, 3}, again.stderr
        self.good.assert_back()


# ── a connection that is cut ─────────────────────────────────────────────────────────────────────


def statements_of_one(site: Site) -> list[str]:
    """Return the statements of all sessions of a restore, those of `pg_restore` too."""
    with wired(site) as wire:
        ended = site.run("restore", "latest", "--yes")
    assert ended.returncode in {0, 3}, ended.stderr
    site.run("rollback", "--yes")
    return wire.statements


def restored_while_cut(site: Site, number: int) -> None:
    def cut_it(statement: Statement) -> None:
        if statement.number == number:
            statement.cut()

    with wired(site) as wire:
        wire.before = cut_it
        ended = site.run("restore", "latest", "--yes")
    assert "Traceback" not in ended.stderr
    # Threads change places: the last statements may never come, and a login is tried again.
    reached = len(wire.statements) >= number and wire.statements[number - 1].strip()
    if not reached or reached in _AT_LOGIN:
        assert ended.returncode in {0, 3, 11, 40, 41}, ended.stderr
    else:
        # A session that only watches, or a check, may be lost without the restore being in doubt.
        assert ended.returncode in {0, 1, 3, 11, 12, 40, 41, 42}, ended.stderr


def check_cuts(site: Site, numbers: Callable[[int], Iterator[int]]) -> None:
    before = Before(site)
    count = len(statements_of_one(site))
    assert count > 100
    for number in numbers(count):
        restored_while_cut(site, number)
        before.assert_whole("resume" if number % 2 else "abort")
        damage(site)
        before.broken = Good(site=site)


@pytest.mark.parametrize("part", [1, 3])
def test_a_connection_that_is_cut_at_a_statement_hurts_nothing(small: Site, part: int) -> None:
    check_cuts(small, lambda count: iter([1 + part * count // 4]))


@pytest.mark.campaign
@pytest.mark.parametrize("remainder", range(24))
def test_a_connection_that_is_cut_at_every_statement_hurts_nothing(
    small: Site, remainder: int
) -> None:
    check_cuts(small, lambda count: iter(range(remainder + 1, count + 1, 24)))


# ── a server that crashes ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def mortal_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    """A server of these tests' own, to crash."""
    with EmbeddedServer.start(
        server_folder / "crashing", major=18, settings={"fsync": "off", "shared_buffers": "32MB"}
    ) as server:
        yield server


@pytest.mark.parametrize(
    ("at", "ending"),
    [
        ("FROM stdin", "resume"),
        *(
            pytest.param(at, ending, marks=pytest.mark.campaign)
            for at in (
                "FROM stdin",
                "CREATE DATABASE",
                "CREATE TABLE public.children",
                "COPY public.children",
                "CREATE INDEX by_parent",
                "TO STDOUT",
                "ANALYZE",
                "ALLOW_CONNECTIONS false",
                "RENAME TO",
                "CREATE EVENT TRIGGER",
            )
            for ending in ("resume", "abort")
        ),
    ],
)
def test_a_server_that_restarts_in_the_middle_hurts_nothing(
    mortal_server: EmbeddedServer, new_site: Callable[..., Site], at: str, ending: str
) -> None:
    site = made_small(new_site(mortal_server))
    before = Before(site)
    crashed: list[str] = []

    def crash(statement: Statement) -> None:
        if at.casefold() in statement.text.casefold() and not crashed:
            crashed.append(statement.text)
            mortal_server.crash()
            mortal_server.restart()

    with wired(site) as wire:
        wire.before = crash
        ended = site.run("restore", "latest", "--yes")
    assert len(crashed) == 1
    assert "Traceback" not in ended.stderr
    assert ended.returncode in {0, 3, 11, 40, 41}, ended.stderr
    before.assert_whole(ending)


# ── a transaction that is prepared ───────────────────────────────────────────────────────────────


@pytest.fixture
def prepared(small: Site) -> Iterator[Callable[[], None]]:
    """Prepare a transaction in the live database when told to; it is gone after the test."""
    name = f"two phases of {small.database}"

    def prepare() -> None:
        conninfo = small.server.conninfo(small.database).reveal()
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("BEGIN")
            connection.execute("UPDATE parents SET word = 'prepared' WHERE id = 1")
            connection.execute(f"PREPARE TRANSACTION '{name}'".encode())

    yield prepare
    found = "SELECT count(*) FROM pg_prepared_xacts WHERE gid = %s"
    if small.value(found, name, database="postgres"):
        small.sql(f"ROLLBACK PREPARED '{name}'")


def test_a_prepared_transaction_is_named_before_anything_is_done(
    small: Site, prepared: Callable[[], None]
) -> None:
    before = Before(small)
    prepared()
    ended = small.run("restore", "latest", "--yes")
    assert ended.returncode == 12
    assert "rollback prepared" in ended.stderr
    assert f"two phases of {small.database}" in ended.stderr
    assert set(small.databases()) == {small.database}
    before.broken.assert_back()


def test_one_that_is_prepared_meanwhile_undoes_the_restore(
    small: Site, prepared: Callable[[], None]
) -> None:
    before = Before(small)
    done: list[str] = []

    def prepare(statement: Statement) -> None:
        if "FROM stdin" in statement.text and not done:
            done.append(statement.text)
            prepared()

    with wired(small) as wire:
        wire.before = prepare
        ended = small.run("restore", "latest", "--yes")
    assert len(done) == 1
    assert ended.returncode == 40, ended.stderr
    assert "prepared transaction" in ended.stderr
    small.sql(f"ROLLBACK PREPARED 'two phases of {small.database}'")
    before.broken.assert_back()
    before.assert_whole("abort")


# ── the server's disk is really full ─────────────────────────────────────────────────────────────


_MB = 1024 * 1024


@pytest.fixture
def disk(server_folder: Path, small_disk: Callable[[Path, int], SmallDisk]) -> SmallDisk:
    """A disk for one server."""
    made = small_disk(server_folder / "full", 300 * 1024)
    made.open_to_server()
    return made


@pytest.fixture
def cramped_server(disk: SmallDisk) -> Iterator[EmbeddedServer]:
    with cramped(disk) as server:
        yield server


def revive(server: EmbeddedServer) -> None:
    """Wait until a server has recovered, and start one that has ended: it could not write."""
    for _ in range(600):
        if server.pid is None:
            server.restart()
        with suppress(psycopg.OperationalError), psycopg.connect(server.conninfo().reveal()):
            return
        time.sleep(0.1)
    raise AssertionError("the server does not come back")


@pytest.mark.parametrize(
    ("leave_mb", "ending"),
    [
        (14, "resume"),
        *(
            pytest.param(leave, ending, marks=pytest.mark.campaign)
            for leave in (9, 11, 12, 14, 16, 18, 20, 24, 28, 34)
            for ending in ("resume", "abort")
        ),
    ],
)
def test_a_server_whose_disk_is_really_full_loses_nothing(
    cramped_server: EmbeddedServer,
    disk: SmallDisk,
    new_site: Callable[..., Site],
    leave_mb: int,
    ending: str,
) -> None:
    # In this order, so that the server outlives the site.
    site = made_small(new_site(cramped_server))
    config = site.config.read_text(encoding="utf-8")
    config = config.replace("[database]", "[database]\nserver_reserve = 0")
    site.config.write_text(config, encoding="utf-8")
    site.sql(
        "CREATE TABLE large AS SELECT i AS id, repeat(md5(i::text), 30) AS body "
        "FROM generate_series(1, 30000) AS i"
    )
    before = Before(site)
    site.sql("CHECKPOINT")
    disk.fill(leave_mb * _MB)

    ended = site.run("restore", "latest", "--yes")

    assert "Traceback" not in ended.stderr
    assert ended.returncode in {1, 11, 12, 40, 41}, ended.stderr
    (disk.path / "ballast").unlink()
    revive(cramped_server)
    before.assert_whole(ending)


# ── a kill at any moment ─────────────────────────────────────────────────────────────────────────


#: Raises at a B-tree index that is unsound, or lacks a row; returns what is wrong with a table.
_AMCHECK = (
    "SELECT FROM (SELECT c.oid, bt_index_check(c.oid::regclass, true)::text AS sound "
    "FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam WHERE c.relkind = 'i' "
    "AND a.amname = 'btree' AND c.relnamespace = 'public'::regnamespace) AS i WHERE sound <> ''",
    "SELECT v.* FROM pg_class AS c, verify_heapam(c.oid::regclass) AS v "
    "WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace",
)


@cache
def seconds_of_one(config: Path) -> float:
    """Return how long a restore takes here and now."""
    began = time.monotonic()
    command = [*_PYTHON, "--config", str(config), "restore", "latest", "--to-database"]
    subprocess.run([*command, "timed", "--yes"], cwd=config.parent, check=False, timeout=300)
    return time.monotonic() - began


@pytest.mark.parametrize(
    "seed", [3, *(pytest.param(n, marks=pytest.mark.campaign) for n in range(100, 160))]
)
def test_a_restore_that_is_killed_at_any_moment_ends_well(small: Site, seed: int) -> None:
    check_kill(small, seed)


@pytest.mark.parametrize(
    "seed", [7, *(pytest.param(n, marks=pytest.mark.campaign) for n in range(200, 212))]
)
def test_pages_and_indexes_are_sound_after_a_kill(
    debian_server: EmbeddedServer, new_site: Callable[..., Site], seed: int
) -> None:
    site = made_small(new_site(debian_server))
    site.sql("CREATE EXTENSION amcheck")
    check_kill(site, seed)
    for query in _AMCHECK:
        assert site.sql(query) == []


def check_kill(small: Site, seed: int) -> None:
    before = Before(small)
    chance = random.Random(seed)
    after = chance.uniform(0.2, 1.2) * seconds_of_one(small.config)
    small.sql("DROP DATABASE IF EXISTS timed WITH (FORCE)", database="postgres")
    process = subprocess.Popen(
        [*_PYTHON, "--config", str(small.config), "restore", "latest", "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=small.folder,
    )
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode in {0, 3, -signal.SIGKILL}, said
    before.assert_whole(chance.choice(["resume", "abort"]))
