"""What goes wrong around a `snapshot create` into a repository, from the database's side first."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oracle_support import Good, brought_back, keep_in_frames
from site_support import Ended, Site
from wire_support import Statement, Wire, wired

from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.marker_rows import create_markers

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


def assert_whole(site: Site, before: list[str]) -> None:
    """Assert that earlier snapshots are whole, and that the next one works with no help."""
    assert set(before) <= set(snapshots(site))
    assert site.run("snapshot", "verify", "--deep", before[-1]).returncode == 0
    good = Good(site=site)
    created = site.run("snapshot", "create")
    assert created.returncode == 0, created.stderr
    assert not list((site.repository / "partials").rglob("*.*"))
    assert site.run("snapshot", "verify", "--deep", "latest").returncode == 0
    brought_back(site, "latest", good=good)


# ── a connection that is cut ─────────────────────────────────────────────────────────────────────


def change(site: Site) -> None:
    site.sql("UPDATE track SET composer = coalesce(composer, '') || '+' WHERE track_id %% 100 = 0")


def end_backend(site: Site, statement: Statement) -> None:
    """Let the server end the session, and wait until it is gone."""
    ended = "SELECT pg_terminate_backend(%s, 10000)"
    assert site.value(ended, statement.pid, database="postgres") is True


def cut_before(site: Site, wire: Wire, number: int) -> None:
    def end_it(statement: Statement) -> None:
        if statement.number == number:
            # A message of the server's comes only in one of the two cases.
            statement.cut() if number % 2 else end_backend(site, statement)

    wire.before = end_it


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
    with wired(saver) as wire:
        cut_before(saver, wire, number)
        ended = saver.run("snapshot", "create")
    assert_failed_well(saver, ended)
    assert_whole(saver, before)


@pytest.mark.campaign
@pytest.mark.parametrize("remainder", range(8))
def test_a_connection_cut_at_every_statement_hurts_nothing(saver: Site, remainder: int) -> None:
    for number in range(remainder + 1, statements_of_one(saver) + 1, 8):
        before = snapshots(saver)
        change(saver)
        with wired(saver) as wire:
            cut_before(saver, wire, number)
            ended = saver.run("snapshot", "create")
        if number <= len(wire.statements):
            assert_failed_well(saver, ended)
        assert_whole(saver, before)
