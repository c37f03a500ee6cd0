"""What goes wrong around a restore in place: connections that are cut, clients that come back."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from in_place_support import (
    kept_schemas,
    large_objects,
    make_large_objects,
    reads_only,
    without_administrator,
)
from oracle_support import Good, snapshot, wreck
from site_support import Ended, Site
from wire_support import Statement, wired

from alexandria_backup.postgres.embedded import EmbeddedServer


@pytest.fixture
def owned(site: Site) -> Site:
    return without_administrator(site)


def in_place(site: Site) -> Ended:
    return site.run("restore", "latest", "--in-place", "--yes")


# ── a connection that is cut ─────────────────────────────────────────────────────────────────────


def statements_of_one(site: Site) -> int:
    """Restore in place, roll back and accept; return how many statements the first one took."""
    with wired(site) as wire:
        restored = in_place(site)
    assert restored.returncode == 0, restored.stderr
    assert site.run("rollback", "--yes").returncode == 0
    (run,) = [run.run for run in site.wiring().runs.all() if run.runbook == "rollback"]
    accepted = site.run("run", "accept", run, "--discard", "--yes")
    assert accepted.returncode == 0, accepted.stderr
    return len(wire.statements)


def restored_while_cut(site: Site, number: int, ending: str) -> None:
    """Restore in place, cut the session of the n-th statement, and end what waits then."""

    def cut(statement: Statement) -> None:
        if statement.number == number:
            statement.cut()

    known = {run.run for run in site.wiring().runs.all()}
    with wired(site) as wire:
        wire.before = cut
        in_place(site)
    for run in site.wiring().runs.all():
        if run.run not in known and run.status == "waits":
            words = ("--yes",) if ending == "resume" else ()
            ended = site.run("run", ending, run.run, *words)
            assert ended.returncode == 0, ended.stderr


def prepared(site: Site) -> tuple[Good, dict[int, str], Good, dict[int, str]]:
    """Take a snapshot and lose something; return what was and what is now."""
    make_large_objects(site)
    good, objects = Good(site=site), large_objects(site)
    snapshot(site)
    wreck(site)
    site.sql("SELECT lo_unlink(4712)")
    return good, objects, Good(site=site), large_objects(site)


def assert_whole(
    site: Site, good: Good, objects: dict[int, str], broken: Good, broken_objects: dict[int, str]
) -> None:
    """Assert that the database is what it was, or restored; give back the former."""
    restored = kept_schemas(site) != []
    (good if restored else broken).assert_back()
    assert large_objects(site) == (objects if restored else broken_objects)
    assert not reads_only(site)
    assert site.platform_log[-1:] in ([], ["start"])
    if restored:
        assert site.run("rollback", "--yes").returncode == 0
        newest = [run.run for run in site.wiring().runs.all() if run.runbook == "rollback"][-1]
        accepted = site.run("run", "accept", newest, "--discard", "--yes")
        assert accepted.returncode == 0, accepted.stderr
        broken.assert_back()
        assert kept_schemas(site) == []


@pytest.mark.parametrize(
    ("sixteenth", "ending"), [(7, "abort"), (9, "resume"), (11, "abort"), (14, "resume")]
)
def test_a_connection_cut_at_a_statement_loses_nothing(
    owned: Site, sixteenth: int, ending: str
) -> None:
    made = prepared(owned)
    number = 1 + sixteenth * statements_of_one(owned) // 16
    restored_while_cut(owned, number, ending)
    assert_whole(owned, *made)


@pytest.mark.campaign
@pytest.mark.parametrize("ending", ["abort", "resume"])
@pytest.mark.parametrize("remainder", range(16))
def test_a_connection_cut_at_every_statement_loses_nothing(
    owned: Site, remainder: int, ending: str
) -> None:
    made = prepared(owned)
    for number in range(remainder + 1, statements_of_one(owned) + 1, 16):
        restored_while_cut(owned, number, ending)
        assert_whole(owned, *made)


# ── clients that come back ───────────────────────────────────────────────────────────────────────


@contextmanager
def clients(site: Site, statement: str) -> Iterator[list[str]]:
    """Let the application's role come back as often as it is thrown out; yield its complaints."""
    conninfo = site.server.conninfo(site.database, user=site.role).reveal()
    over = threading.Event()
    complaints: list[str] = []

    def come_back() -> None:
        while not over.is_set():
            try:
                with psycopg.connect(conninfo, autocommit=True) as connection:
                    while not over.wait(0.005):
                        connection.execute(statement.encode())
            except psycopg.Error as error:
                complaints.append(str(error))

    threads = [threading.Thread(target=come_back) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield complaints
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_whoever_comes_back_only_reads(owned: Site) -> None:
    owned.sql("CREATE TABLE written (at timestamptz DEFAULT now())")
    owned.sql(f'ALTER TABLE written OWNER TO "{owned.role}"')
    snapshot(owned)
    with clients(owned, "INSERT INTO written DEFAULT VALUES") as complaints:
        restored = in_place(owned)
        assert restored.returncode == 0, restored.stderr
    assert any("read-only transaction" in text for text in complaints)


def test_readers_do_not_hold_up_a_load_that_is_undone(owned: Site) -> None:
    text = owned.config.read_text(encoding="utf-8")
    with_check = text.replace("[application]\n", '[application]\nchecks = ["SELECT false"]\n')
    owned.config.write_text(with_check, encoding="utf-8")
    snapshot(owned)
    before = Good(site=owned)
    with clients(owned, "SELECT count(*) FROM customer"):
        assert in_place(owned).returncode == 40
    before.assert_back()
    assert kept_schemas(owned) == []


def test_a_transaction_that_is_open_is_ended(owned: Site) -> None:
    snapshot(owned)
    conninfo = owned.server.conninfo(owned.database, user=owned.role).reveal()
    with suppress(psycopg.Error), psycopg.connect(conninfo) as holder:
        holder.execute("UPDATE artist SET name = 'uncommitted'")
        restored = in_place(owned)
        assert restored.returncode == 0, restored.stderr
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")


# ── what was kept ────────────────────────────────────────────────────────────────────────────────


def test_what_has_come_to_need_it_is_not_dropped_with_it(owned: Site) -> None:
    snapshot(owned)
    assert in_place(owned).returncode == 0
    (kept,) = kept_schemas(owned)
    owned.sql(f"CREATE VIEW before AS SELECT * FROM {kept}.customer")
    (run,) = [run.run for run in owned.wiring().runs.all() if run.runbook == "restore"]
    refused = owned.run("run", "accept", run, "--yes")
    assert refused.returncode == 12
    assert "`public.before`" in refused.stderr or "public.before" in refused.stderr
    owned.sql("DROP VIEW before")
    assert owned.run("run", "accept", run, "--yes").returncode == 0
    assert kept_schemas(owned) == []


def test_a_publication_is_another_one_and_comes_back(
    new_site: Callable[..., Site], server: EmbeddedServer
) -> None:
    site = without_administrator(new_site(server))
    site.sql("CREATE PUBLICATION told FOR TABLE customer")
    site.sql(f'ALTER PUBLICATION told OWNER TO "{site.role}"')
    members = "SELECT tablename::text FROM pg_publication_tables WHERE pubname = 'told'"
    snapshot(site)
    site.sql("ALTER PUBLICATION told SET TABLE album")
    assert in_place(site).returncode == 0
    assert site.value(members) == "customer"
    # Its next snapshot knows nothing of the other one.
    snapshot(site)
    assert site.run("rollback", "--yes").returncode == 0
    assert site.value(members) == "album"
    copied = site.run("restore", "latest", "--in-place", "--yes")
    assert copied.returncode == 0, copied.stderr
    assert site.value(members) == "customer"
