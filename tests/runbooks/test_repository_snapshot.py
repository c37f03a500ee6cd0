"""`snapshot create` into a repository: what it holds, what it costs and what it survives."""

import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle_support import Good, brought_back, keep_in_frames
from repository_snapshot_support import DURABLE, NewSite, results, running, snapshots, taken
from site_support import Site

from alexandria_backup.demo.audit_rows import COPY_AUDIT_ROWS, audit_rows
from alexandria_backup.errors import StorageError
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey

AUDIT_TABLE = """
CREATE TABLE audit_logs (
    id text PRIMARY KEY, principal text, action text, agent text, session text, metadata text,
    tenant_id text, hmac text, prev_hmac text, created_at timestamptz)
"""


@pytest.fixture
def keeper(new_site: NewSite, server_any: EmbeddedServer) -> Site:
    """A site with a repository of small frames."""
    return keep_in_frames(new_site(server_any))


@pytest.fixture
def mortal_server(server_folder: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server for one test."""
    with EmbeddedServer.start(server_folder / tmp_path.name, settings=DURABLE) as server:
        yield server


def objects(site: Site) -> set[Path]:
    return {path for path in (site.repository / "objects").rglob("*") if path.is_file()}


def frame_object(site: Site) -> Path:
    """Return the largest object of a frame of the first snapshot."""
    manifest = min((site.repository / "snapshots").iterdir())
    document, _ = json.JSONDecoder().raw_decode(manifest.read_text())
    tables = [table["framed"] for table in document["tables"] if table["framed"]]
    parts = [part for table in tables for frame in table["frames"] for part in frame["parts"]]
    digest = max(parts, key=lambda part: part["bytes"])["object"]
    return site.repository / "objects" / digest[:2] / digest


# ── what it holds ────────────────────────────────────────────────────────────────────────────────


def test_other_encodings_than_utf_8_come_back(keeper: Site) -> None:
    name = f"{keeper.database}_latin1"
    keeper.sql(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C' "
        "LOCALE_PROVIDER libc",
        database="postgres",
    )
    before, keeper.database = keeper.database, name
    keeper.write_secret("dsn", keeper.server.conninfo(name).reveal())
    keeper.sql("CREATE TABLE umlauts AS SELECT 'Größe ' || i AS t FROM generate_series(1, 99) i")
    taken(keeper)
    brought_back(keeper, "latest", damage=lambda site: site.sql("DELETE FROM umlauts"))
    keeper.clear()
    keeper.database = before


def test_a_snapshot_that_is_encrypted_needs_its_identity_only_to_be_read(
    new_site: NewSite, server_any: EmbeddedServer, tmp_path: Path
) -> None:
    identity = Identity.generate()
    identity.save(tmp_path / "identity")
    SigningKey.generate("backup.example.org").save(tmp_path / "signing")
    keys = f"""
[encryption]
recipients = ["{identity.recipient}"]
[signing]
key_file = "{tmp_path / "signing"}"
"""
    site = new_site(server_any, extra=keys)
    opening = {"ALEXANDRIA_ENCRYPTION__IDENTITY_FILE": str(tmp_path / "identity")}
    line = f'identity_file = "{tmp_path / "identity"}"\n'
    config = site.config.read_text()
    site.config.write_text(config.replace("[encryption]\n", f"[encryption]\n{line}"))
    keep_in_frames(site)
    site.config.write_text(site.config.read_text().replace(line, ""))
    secret = site.value("SELECT email FROM customer LIMIT 1").encode()
    # Whoever has stored something can read it as long as he lives: so in a process of its own.
    assert site.process("snapshot", "create").returncode == 0
    assert not any(secret in path.read_bytes() for path in objects(site))
    assert site.run("snapshot", "verify", "--deep", "latest").returncode == 21
    assert site.run("snapshot", "verify", "--deep", "latest", environ=opening).returncode == 0
    good = Good(site=site)
    site.sql("DELETE FROM playlist_track")
    assert site.run("restore", "latest", "--yes", environ=opening).returncode == 0
    good.assert_back()


# ── what it costs ────────────────────────────────────────────────────────────────────────────────


def test_the_second_one_reads_what_has_changed_and_says_so(saver: Site) -> None:
    first = taken(saver)
    assert first["frames_taken"] == 0
    saver.sql("UPDATE track SET composer = 'somebody' WHERE track_id = 1")
    second = taken(saver)
    assert second["reference"] == first["snapshot"]
    assert second["frames_taken"] > second["frames_read"] > 0
    assert second["new_frame_bytes"] < first["new_frame_bytes"] / 4
    # The base archive is dumped each time, and is the same one within a second of its clock.
    assert second["new_bytes"] >= second["new_frame_bytes"]
    good = Good(site=saver)
    brought_back(saver, "latest", good=good)


def test_without_consent_no_schema_is_made_and_everything_is_read(keeper: Site) -> None:
    first = taken(keeper)
    second = taken(keeper)
    assert keeper.value("SELECT to_regnamespace('alexandria_backup') IS NULL")
    assert second["frames_taken"] == 0
    # What is read again has the same digest, and so the same objects.
    assert (first["frames_read"], second["new_frame_bytes"]) == (second["frames_read"], 0)


def test_with_consent_the_schema_is_made_once(new_site: NewSite, durable_server: Any) -> None:
    site = keep_in_frames(new_site(durable_server))
    taken(site, "--yes")
    assert taken(site)["frames_taken"] > 0


def test_full_reads_everything_and_replaces_what_is_damaged(saver: Site) -> None:
    taken(saver)
    victim = frame_object(saver)
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert taken(saver, "--full")["frames_taken"] == 0
    assert victim.read_bytes() == whole


def test_an_object_that_was_lost_heals_in_the_next_snapshot(saver: Site) -> None:
    taken(saver)
    victim = frame_object(saver)
    victim.unlink()
    assert saver.run("snapshot", "verify", "--deep", "latest").returncode == 20
    taken(saver)
    assert saver.run("snapshot", "verify", "--deep", "latest").returncode == 0


def test_an_object_damaged_at_rest_is_found_by_reading_it_again(saver: Site) -> None:
    saver.config.write_text(
        saver.config.read_text().replace("[snapshot]", "[snapshot]\nreread_percent = 100")
    )
    taken(saver)
    victim = frame_object(saver)
    whole = victim.read_bytes()
    victim.write_bytes(bytes(len(whole)))
    taken(saver)
    assert victim.read_bytes() == whole
    assert saver.run("snapshot", "verify", "--deep", "latest").returncode == 0


# ── what it survives ─────────────────────────────────────────────────────────────────────────────


def fill(site: Site, rows: int = 60_000) -> None:
    site.sql(
        "CREATE TABLE big AS SELECT i, md5(i::text) || md5((i * 7)::text) AS t "
        f"FROM generate_series(1, {rows}) AS i"
    )


def killed_at_random(site: Site, chance: random.Random, how: signal.Signals) -> int:
    """Let a snapshot run for a while from when it begins to write, and end it."""
    with running(site, "snapshot", "create") as process:
        while process.poll() is None and not list((site.repository / "leases").glob("*-*")):
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.8))
        if process.poll() is not None:
            return process.returncode
        with_group = how is signal.SIGINT
        (os.killpg if with_group else os.kill)(process.pid, how)
        return process.wait(60)


def earlier_ones_are_whole_and_the_next_one_works(site: Site) -> None:
    before = snapshots(site)
    for snapshot in before[-2:]:
        assert site.run("snapshot", "verify", "--deep", snapshot).returncode == 0
    state = taken(site)
    assert site.run("snapshot", "verify", "--deep", state["snapshot"]).returncode == 0
    assert not list((site.repository / "partials").rglob("*.*"))


@pytest.mark.parametrize("seed", range(4))
def test_a_snapshot_that_is_killed_leaves_earlier_ones_whole(saver: Site, seed: int) -> None:
    fill(saver)
    taken(saver)
    saver.sql("UPDATE big SET t = 'changed' WHERE i %% 3 = 0")
    killed_at_random(saver, random.Random(seed), signal.SIGKILL)
    earlier_ones_are_whole_and_the_next_one_works(saver)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(100, 160))
def test_at_sixty_random_moments_a_kill_leaves_earlier_ones_whole(saver: Site, seed: int) -> None:
    fill(saver)
    taken(saver)
    saver.sql("UPDATE big SET t = 'changed' WHERE i %% 3 = 0")
    killed_at_random(saver, random.Random(seed), signal.SIGKILL)
    earlier_ones_are_whole_and_the_next_one_works(saver)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_snapshot_leaves_a_clean_repository(
    saver: Site, how: signal.Signals
) -> None:
    fill(saver)
    assert killed_at_random(saver, random.Random(how), how) in {0, 130}
    assert not list((saver.repository / "leases").rglob("*-*"))
    assert not list(saver.repository.rglob("*.part"))
    earlier_ones_are_whole_and_the_next_one_works(saver)


def test_what_an_interrupted_one_has_stored_is_used_by_the_next(
    keeper: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(keeper)
    with monkeypatch.context() as broken:
        broken.setattr(
            "alexandria_backup.runbooks.repository_snapshot.describe_copied", _no_description
        )
        assert keeper.run("snapshot", "create").returncode == 1
    stored = objects(keeper)
    assert list((keeper.repository / "partials").rglob("*"))
    assert taken(keeper)["new_frame_bytes"] == 0
    assert len(objects(keeper) - stored) <= 2  # the base archive has a time in it
    earlier_ones_are_whole_and_the_next_one_works(keeper)


def _no_description(*_: object, **__: object) -> None:
    raise StorageError("the lights went out")


def test_two_snapshots_at_once_are_both_whole(saver: Site) -> None:
    fill(saver)
    with running(saver, "snapshot", "create") as one, running(saver, "snapshot", "create") as two:
        assert (one.wait(120), two.wait(120)) == (0, 0)
    assert len(snapshots(saver)) == 2
    for snapshot in snapshots(saver):
        assert saver.run("snapshot", "verify", "--deep", snapshot).returncode == 0
    assert saver.run("repository", "check").returncode in {0, 2}


def test_a_server_that_restarts_meanwhile_ends_the_attempt_and_hurts_nothing(
    mortal_server: EmbeddedServer, new_site: NewSite
) -> None:
    site = keep_in_frames(new_site(mortal_server))
    fill(site)
    taken(site)
    site.sql("UPDATE big SET t = 'changed'")
    with running(site, "snapshot", "create") as process:
        time.sleep(1.0)
        mortal_server.restart()
        assert process.wait(60) in {0, 1, 11}
    earlier_ones_are_whole_and_the_next_one_works(site)


def test_writers_go_on_while_a_snapshot_is_taken(saver: Site) -> None:
    fill(saver)
    over = threading.Event()
    done: list[int] = []

    def write() -> None:
        while not over.is_set():
            saver.sql("UPDATE big SET t = t || 'x' WHERE i = %s", random.randrange(60_000))
            done.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            taken(saver)
    finally:
        over.set()
        writer.join()
    assert done
    earlier_ones_are_whole_and_the_next_one_works(saver)


def test_show_says_of_each_table_what_was_taken_over_what_was_read_and_why(saver: Site) -> None:
    fill(saver)
    taken(saver)
    saver.sql("UPDATE big SET t = 'changed' WHERE i = 1")
    taken(saver)
    shown = saver.run("snapshot", "show", "latest").stdout
    line = next(line for line in shown.splitlines() if line.startswith("public.big"))
    found = re.fullmatch(r"\S+ +[\d,]+ +(\d+) +(\d+) +(\d+) .*unchanged \((\d+)\); .*", line)
    assert found is not None, shown
    frames, taken_over, read, unchanged = map(int, found.groups())
    assert frames == taken_over + read
    assert taken_over == unchanged > 0
    assert 1 <= read <= 2


# ── the audit chain ──────────────────────────────────────────────────────────────────────────────


def test_the_audit_chain_is_verified_in_the_snapshot_and_anchored(saver: Site) -> None:
    key = b"k" * 32
    saver.write_secret("audit.key", key.decode())
    with saver.config.open("a", encoding="utf-8") as config:
        config.write('[audit]\nkey_file = "audit.key"\nkey_encoding = "raw"\n')
    saver.sql(AUDIT_TABLE)
    with connect(Dsn.parse(saver.server.conninfo(saver.database)), purpose="test") as session:
        session.copy_in(COPY_AUDIT_ROWS, audit_rows(500, seed=1, key=key))
    assert taken(saver)["chain"]["rows"] == 500
    manifest = results(saver.run("snapshot", "show", "latest", "--json"))
    assert manifest["audit"]["status"] == "intact"
    assert manifest["audit"]["anchors"][0]["count"] == 500
    saver.sql("UPDATE audit_logs SET action = 'nothing' WHERE ctid = '(0,3)'")
    assert taken(saver, code=30)["chain"]["status"] == "broken"
