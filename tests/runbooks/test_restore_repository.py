"""A snapshot of a repository comes back as a file does; the special cases run as a campaign."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from oracle_support import Good, brought_back, keep_in_frames, snapshot
from shapes_support import HASHED, SHAPES, create_shapes, drop_shapes
from site_support import Site

from alexandria_backup.copying.snapshot_archive import SnapshotArchive
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf


@pytest.fixture
def framed(site: Site) -> Site:
    """A site with a repository that keeps each table in frames."""
    return keep_in_frames(site)


def manifest_of(site: Site) -> dict[str, Any]:
    shown = site.run("snapshot", "show", "latest", "--json")
    manifest: dict[str, Any] = json.loads(shown.stdout)["result"]
    return manifest


def frames(site: Site, table: str) -> list[dict[str, Any]]:
    (found,) = (t["framed"]["frames"] for t in manifest_of(site)["tables"] if t["name"] == table)
    return list(found)


def object_of(site: Site, table: str) -> Path:
    return site.repository / object_name(frames(site, table)[-1]["parts"][0]["object"])


def test_everything_together_comes_back_from_frames(
    new_site: Callable[..., Site], server: EmbeddedServer
) -> None:
    site = keep_in_frames(new_site(server))
    create_shapes(site, *SHAPES.values())
    snapshot(site)
    tables = manifest_of(site)["tables"]
    assert sum(table["framed"] is not None for table in tables) > 20
    assert len(frames(site, "playlist_track")) > 5

    good = Good(site=site, moving=HASHED)
    restored = brought_back(site, "latest", "--yes-different", damage=drop_shapes, good=good)
    assert "not compared" not in restored.stdout


def test_a_plan_says_how_to_do_it_by_hand(framed: Site) -> None:
    snapshot(framed)
    name = manifest_of(framed)["snapshot"]
    planned = framed.run("restore", "latest", "--plan").stdout
    assert f"$ alexandria snapshot export {name} {name}.pgdump" in planned
    assert f"$ pg_restore --list {name}.pgdump" in planned
    assert f"look whether all of `{name}` is there" in planned


def test_what_the_program_keeps_for_itself_is_not_given_up(framed: Site) -> None:
    assert framed.run("snapshot", "create", "--yes").returncode == 0
    snapshot(framed)
    assert framed.value("SELECT count(*) FROM alexandria_backup.markers") == 2
    framed.sql("DELETE FROM playlist_track")
    ended = framed.run("restore", "latest", "--yes")
    assert "changes   public.playlist_track" in ended.stderr
    assert "alexandria_backup" not in ended.stderr
    # The first snapshot's marker was there when the second one was taken.
    assert framed.value("SELECT count(*) FROM alexandria_backup.markers") == 1


def test_a_copy_beside_the_live_database(framed: Site) -> None:
    snapshot(framed)
    good = framed.fingerprint()
    framed.sql("DELETE FROM playlist_track")
    copy = f"{framed.database}_copy"
    ended = framed.run("restore", "latest", "--to-database", copy, "--yes")
    assert ended.returncode == 0, ended.stderr
    assert framed.fingerprint(copy) == good


def test_the_ledger_tells_of_it(framed: Site) -> None:
    snapshot(framed)
    name = manifest_of(framed)["snapshot"]
    arguments = ("restore", "latest", "--to-database", f"{framed.database}_c", "--yes")
    restored = framed.run(*arguments, "--reason", "to look at it")
    assert restored.returncode == 0, restored.stderr
    repository = framed.wiring().repositories.opened
    *_, newest = repository.ledger.read().entries.values()
    assert (newest.action, newest.snapshots, newest.reason) == (
        Action.RESTORE,
        (name,),
        "to look at it",
    )
    assert newest.details == {"into": f"{framed.database}_c"}
    assert repository.ledger.heads()[0] in restored.stderr


def test_a_database_that_is_gone_comes_back(framed: Site) -> None:
    good = Good(site=framed)
    framed.sql(f"ALTER DATABASE \"{framed.database}\" SET work_mem = '7MB'")
    snapshot(framed)
    framed.sql(f'DROP DATABASE "{framed.database}" WITH (FORCE)', database="postgres")
    ended = framed.run("restore", "latest", "--yes")
    assert ended.returncode == 0, ended.stderr
    good.assert_back()
    assert framed.value("SHOW work_mem") == "7MB"


@pytest.mark.parametrize(("damage", "status"), [("missing", 20), ("cut", 20), ("flipped", 40)])
def test_a_damaged_object_leaves_everything_as_it_was(
    framed: Site, damage: str, status: int
) -> None:
    """What a listing shows is found before anything is created, and the rest while it is loaded."""
    snapshot(framed)
    good = framed.fingerprint()
    path = object_of(framed, "track")
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    ended = framed.run("restore", "latest", "--yes")
    assert ended.returncode == status
    assert path.name in ended.stderr
    created = "create-shadow" in ended.stderr
    assert created == (status == 40)
    assert set(framed.databases()) == {framed.database}
    assert framed.fingerprint() == good


def test_an_object_that_vanishes_while_it_is_loaded_undoes_the_restore(
    framed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(framed)
    good = framed.fingerprint()
    path = object_of(framed, "track")
    read: list[str] = []
    apart = SnapshotArchive.apart

    def apart_of_less(archive: SnapshotArchive) -> Any:
        read.append(archive.name)
        # It was looked into once before; what comes after that is the load.
        if len(read) == 2:
            path.unlink(missing_ok=True)
        return apart(archive)

    monkeypatch.setattr(SnapshotArchive, "apart", apart_of_less)
    ended = framed.run("restore", "latest", "--yes")
    assert ended.returncode == 40
    assert path.name in ended.stderr
    assert set(framed.databases()) == {framed.database}
    assert framed.fingerprint() == good


def test_no_prune_takes_a_snapshot_away_while_it_is_read(
    framed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(framed)
    name = manifest_of(framed)["snapshot"]
    leases: list[str] = []
    chunks = SnapshotArchive.chunks

    def watched(archive: SnapshotArchive) -> Any:
        held = (framed.repository / "leases").glob("*")
        leases.extend(json.loads(path.read_text())["snapshot"] for path in held)
        return chunks(archive)

    monkeypatch.setattr(SnapshotArchive, "chunks", watched)
    assert framed.run("restore", "latest", "--yes").returncode == 0
    assert set(leases) == {name}
    # Nothing is left that would hold up the next prune.
    assert list((framed.repository / "leases").glob("*")) == []


def test_frames_are_read_once_and_their_rows_are_compared_with_the_servers(
    framed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(framed)
    good = framed.fingerprint()
    names = {part["object"] for frame in frames(framed, "track") for part in frame["parts"]}
    fetched: list[str] = []
    get_both = ObjectShelf.get_both

    def watched(shelf: ObjectShelf, part: StoredPart, *arguments: Any) -> Any:
        fetched.append(part.object)
        return get_both(shelf, part, *arguments)

    monkeypatch.setattr(ObjectShelf, "get_both", watched)
    ended = framed.run("restore", "latest", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert sorted(name for name in fetched if name in names) == sorted(names)
    assert "11 tables compared row by row" in ended.stdout
    assert framed.fingerprint() == good
