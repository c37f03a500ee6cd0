"""`snapshot create` from a hot standby: replay may end it at any moment, and may end altogether."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oracle_support import Good, brought_back, keep_in_frames
from repository_snapshot_support import (
    AFTER_LOCKS,
    AT_FIRST_ROWS,
    DURABLE,
    NewSite,
    assert_failed_well,
    change,
    created_during,
    lose_mail,
    snapshots,
    taken,
    with_markers,
)
from site_support import Site, make_site
from standby_support import catch_up, standby_of

from alexandria_backup.postgres.embedded import EmbeddedServer

#: Replay never waits for whoever reads, and nobody tells the primary what is being read.
MERCILESS = {**DURABLE, "max_standby_streaming_delay": "0", "hot_standby_feedback": "off"}


@pytest.fixture
def primary_server(server_folder: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(server_folder / f"{tmp_path.name}-a", settings=DURABLE) as server:
        yield server


@pytest.fixture
def primary(primary_server: EmbeddedServer, new_site: NewSite) -> Site:
    """A site with one snapshot."""
    site = with_markers(keep_in_frames(new_site(primary_server)))
    taken(site)
    return site


@pytest.fixture
def standby(primary: Site, server_folder: Path, tmp_path: Path) -> Iterator[Site]:
    """The same database as its standby serves it, with the same repository and settings."""
    folder = server_folder / f"{tmp_path.name}-b"
    with standby_of(primary.server, folder, MERCILESS) as server:
        there = tmp_path / "standby"
        there.mkdir()
        site = make_site(there, server, primary.database, primary.role)
        site.repository.rmdir()
        site.repository.symlink_to(primary.repository)
        site.config.write_text(primary.config.read_text().replace(str(primary.folder), str(there)))
        catch_up(primary.server, server)
        yield site


def test_nothing_is_taken_over_between_a_primary_and_its_standby(
    primary: Site, standby: Site
) -> None:
    first = taken(standby)
    assert first["objection"] == "the server is on another timeline, or a standby"
    assert first["frames_taken"] == 0
    # What is read again is the same, and so is stored already, but for the primary's marker.
    assert first["new_frame_bytes"] < 1000
    assert taken(standby)["frames_taken"] == 0
    change(primary)
    # The snapshots of the standby have no marker: the primary's own goes on being the reference.
    back = taken(primary)
    assert back["frames_taken"] > back["frames_read"] > 0
    brought_back(primary, "latest", damage=lose_mail)


def vacuum_what_is_read(primary: Site, standby: Site) -> None:
    primary.sql("DELETE FROM playlist_track")
    primary.sql("VACUUM (FREEZE, INDEX_CLEANUP ON) playlist_track")
    catch_up(primary.server, standby.server)


def rewrite_what_is_read(primary: Site, standby: Site) -> None:
    primary.sql("TRUNCATE playlist_track")
    catch_up(primary.server, standby.server)


@pytest.mark.parametrize("moment", [AFTER_LOCKS, AT_FIRST_ROWS])
@pytest.mark.parametrize("replayed", [vacuum_what_is_read, rewrite_what_is_read])
def test_a_recovery_conflict_ends_a_snapshot_and_is_named(
    primary: Site, standby: Site, moment: str, replayed: Callable[[Site, Site], None]
) -> None:
    before = snapshots(standby)
    ended = created_during(standby, moment, lambda: replayed(primary, standby))
    if ended.returncode == 0:
        # Nothing had been seen yet that replay could have taken away.
        assert (moment, replayed) == (AFTER_LOCKS, vacuum_what_is_read)
    else:
        assert_failed_well(standby, ended, mentions="conflict with recovery")
        for setting in ("hot_standby_feedback", "max_standby_streaming_delay", "primary"):
            assert setting in ended.stderr
        assert snapshots(standby) == before
    taken(standby)
    verified = standby.run("snapshot", "verify", "--deep", "latest")
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("moment", [AFTER_LOCKS, AT_FIRST_ROWS])
def test_a_promotion_in_the_middle_hurts_nothing(primary: Site, standby: Site, moment: str) -> None:
    before = snapshots(standby)
    promote = "SELECT pg_promote(true, 60)"
    ended = created_during(standby, moment, lambda: standby.value(promote, database="postgres"))
    if ended.returncode != 0:
        assert_failed_well(standby, ended)
        assert snapshots(standby) == before
    # Two histories from now on, with the same ids of transactions for different changes.
    primary.sql("UPDATE track SET composer = 'primary' WHERE track_id %% 10 = 0")
    standby.sql("UPDATE track SET composer = 'standby' WHERE track_id %% 9 = 0")
    for site in (primary, standby):
        taken(site)
        change(site)
        good = Good(site=site)
        brought_back(site, taken(site)["snapshot"], good=good, damage=lose_mail)
