"""Sites whose snapshots go into a repository, and what every such snapshot is asked about."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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

#: What a server needs for its history to be trusted.
DURABLE = {"fsync": "on", "shared_buffers": "32MB", "autovacuum": "off"}

#: What a session of ours sends once, at the beginning, in the middle and late.
BEFORE_LOCKS = "LOCK TABLE ONLY"
AFTER_LOCKS = "pg_export_snapshot"
AT_FIRST_ROWS = "COPY (SELECT"


@pytest.fixture(scope="session")
def durable_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    """A server whose history can be trusted: with `fsync`."""
    with EmbeddedServer.start(server_folder / "durable-site", settings=DURABLE) as server:
        yield server


@pytest.fixture
def saver(new_site: NewSite, durable_server: EmbeddedServer) -> Site:
    """A site where what has not changed can be taken over."""
    return with_markers(keep_in_frames(new_site(durable_server)))


def with_markers(site: Site) -> Site:
    """Give the consent that a site's database may hold marker rows."""
    with connect(Dsn.parse(site.server.conninfo(site.database)), purpose="test") as session:
        create_markers(session)
    return site


def taken(site: Site, *options: str, code: int = 0) -> dict[str, Any]:
    """Take a snapshot; return its final state."""
    ended = site.run("snapshot", "create", "--json", *options)
    assert ended.returncode == code, ended.stdout
    return dict(results(ended)["state"])


def results(ended: Ended) -> Any:
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return next(line["result"] for line in lines if line["event"] == "result")


def snapshots(site: Site) -> list[str]:
    return [entry["id"] for entry in results(site.run("snapshot", "list", "--json"))]


def change(site: Site) -> None:
    site.sql("UPDATE track SET composer = coalesce(composer, '') || '+' WHERE track_id %% 100 = 0")


def lose_mail(site: Site) -> None:
    site.sql("UPDATE customer SET email = 'gone'")


# ── while a snapshot is taken ────────────────────────────────────────────────────────────────────


def when_first(wire: Wire, text: str, act: Callable[[], object]) -> None:
    """Do something before the first statement with this text reaches the server."""
    pending = [text]

    def do(statement: Statement) -> None:
        if pending and pending[0] in statement.text:
            pending.clear()
            act()

    wire.before = do


def created_during(site: Site, moment: str, act: Callable[[], object]) -> Ended:
    """Take a snapshot, and act when it gets to a certain moment."""
    acted: list[bool] = []
    with wired(site) as wire:
        when_first(wire, moment, lambda: (act(), acted.append(True)))
        ended = site.run("snapshot", "create")
    assert acted, (wire.statements, ended)
    return ended


@contextmanager
def running(site: Site, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program; it is gone with the block, and what it started, too."""
    process = subprocess.Popen(
        [sys.executable, "-m", "alexandria_backup", "--config", str(site.config), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=site.folder,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# ── afterwards ───────────────────────────────────────────────────────────────────────────────────


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
    brought_back(site, "latest", good=good, damage=lose_mail)
