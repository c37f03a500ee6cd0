"""A load ends before the server's disk is full: the live database never meets a full disk."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from oracle_support import keep_in_frames, snapshot
from site_support import Site
from small_disks import SmallDisk, cramped

from alexandria_backup.postgres import growth
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.restore_state import RestoreChoices

MB = 1 << 20
RESERVE = 60 * MB


@pytest.fixture
def disk(server_folder: Path, small_disk: Callable[[Path, int], SmallDisk]) -> SmallDisk:
    """A disk for one server."""
    made = small_disk(server_folder / "small", 420 * 1024)
    made.open_to_server()
    return made


@pytest.fixture
def small_server(disk: SmallDisk) -> Iterator[EmbeddedServer]:
    with cramped(disk) as server:
        yield server


def with_reserve(site: Site) -> None:
    config = site.config.read_text(encoding="utf-8")
    config = config.replace("[database]", f"[database]\nserver_reserve = {RESERVE}")
    site.config.write_text(config, encoding="utf-8")


@pytest.mark.parametrize("in_frames", [False, True])
def test_a_load_that_would_fill_the_disk_is_stopped_and_leaves_the_live_database_whole(
    small_server: EmbeddedServer, disk: SmallDisk, new_site: Callable[..., Site], in_frames: bool
) -> None:
    # In this order, so that the server outlives the site.
    site = new_site(small_server)
    if in_frames:
        keep_in_frames(site)
    with_reserve(site)
    site.sql(
        "CREATE TABLE large AS SELECT i AS id, repeat(md5(i::text), 30) AS body "
        "FROM generate_series(1, 30000) AS i"
    )
    snapshot(site)
    site.sql("DELETE FROM playlist_track")
    live = site.fingerprint()
    site.sql("CHECKPOINT")
    # Enough to begin, and less than the shadow will have.
    disk.fill(RESERVE + 20 * MB)

    ended = site.run("restore", "latest", "--yes")

    assert ended.returncode == 40, ended.stderr
    assert f"and {RESERVE:,} must stay" in ended.stderr
    assert "the load was stopped" in ended.stderr
    assert "hint: free space on the server, or set `[database] server_reserve`" in ended.stderr
    assert set(site.databases()) == {site.database}
    assert site.fingerprint() == live
    site.sql("INSERT INTO genre (genre_id, name) VALUES (9999, 'there is room to write')")

    (disk.path / "ballast").unlink()
    assert site.run("restore", "latest", "--yes").returncode == 0
    assert site.value("SELECT count(*) FROM playlist_track") == 8715


def test_what_a_load_took_stands_in_the_journal(site: Site) -> None:
    snapshot(site)
    procedure = site.wiring().restores.restore("latest", RestoreChoices())
    grown = procedure.run(lambda _: None).state.grown
    assert grown is not None
    assert grown.shadow_bytes is not None
    assert grown.shadow_bytes > 5 * MB
    assert grown.wal_bytes is not None
    assert grown.least_free_bytes is not None


def test_a_restore_that_would_touch_the_reserve_does_not_begin(site: Site) -> None:
    snapshot(site)
    config = site.config.read_text(encoding="utf-8")
    config = config.replace("[database]", "[database]\nserver_reserve = 999_999_999")
    site.config.write_text(config, encoding="utf-8")
    refused = site.run("restore", "latest", "--yes")
    assert refused.returncode == 12
    assert "999,999,999 must stay free" in refused.stderr


def test_where_the_server_is_elsewhere_what_was_stated_shrinks_as_things_grow(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = Dsn.parse(site.server.conninfo("postgres"))
    with connect(dsn, purpose="test") as session:
        here = growth.look(session, site.database, stated_free=5, first=None)
        assert here.free is not None
        assert here.free > 5
        monkeypatch.setattr(growth, "runs_here", lambda _: False)
        first = growth.look(session, site.database, stated_free=1_000 * MB, first=None)
        assert first.free == 1_000 * MB
        site.sql("CREATE TABLE more AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        later = growth.look(session, site.database, stated_free=1_000 * MB, first=first)
        grown = later.database - first.database
        assert grown > 4 * MB
        assert later.free is not None
        assert later.free <= 1_000 * MB - grown
        # Nobody knows the WAL's size, or what was free.
        blind = growth.look(
            session, site.database, stated_free=1_000 * MB, first=replace(first, wal=None)
        )
        assert blind.free == 1_000 * MB - (blind.database - first.database)
        assert growth.look(session, site.database, stated_free=None, first=first).free is None


def test_a_tablespace_of_its_own_has_a_disk_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"/data": 9, "/data/pg_wal": 7, "/space": 5}

    def usage(folder: Path) -> SimpleNamespace:
        if str(folder) not in free:
            raise PermissionError(folder)
        return SimpleNamespace(free=free[str(folder)])

    monkeypatch.setattr(growth.shutil, "disk_usage", usage)
    server = SimpleNamespace(data_directory="/data")
    assert growth._measured(server, "/space") == 5  # type: ignore[arg-type]
    assert growth._measured(server, "") == 7  # type: ignore[arg-type]
    del free["/data"], free["/data/pg_wal"]
    assert growth._measured(server, "") is None  # type: ignore[arg-type]
