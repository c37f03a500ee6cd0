"""What goes wrong around a restore: full disks, clients that will not go, two at once."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from oracle_support import Good, brought_back, snapshot, wreck
from site_support import Site, new_role
from small_disks import SmallDisk

from alexandria_backup.postgres.embedded import EmbeddedServer


def later(*values: Any) -> list[Any]:
    """Leave parameters to the long campaigns."""
    marks = pytest.mark.campaign
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=marks) for v in values]


# ── a full disk ──────────────────────────────────────────────────────────────────────────────────


def noise(site: Site) -> None:
    """Make rows that do not compress: a dump of them is larger than a tenth of the table."""
    site.sql(
        "CREATE TABLE noise AS SELECT string_agg(md5(random()::text || i || j), '') AS body "
        "FROM generate_series(1, 300) AS i, generate_series(1, 200) AS j GROUP BY i"
    )


@pytest.mark.parametrize("leave", [900_000, *later(600_000, 500_000)])
def test_a_snapshot_onto_a_full_disk_leaves_nothing_behind(
    site: Site, small_disk: Callable[[Path, int], SmallDisk], leave: int
) -> None:
    noise(site)
    disk = small_disk(site.repository, 2_000)
    # The journal of the run stands in the repository as well, and must not be what fails first.
    disk.fill(leave)
    created = site.run("snapshot", "create")
    assert created.returncode in {1, 12}, created.stderr
    assert "no space left" in created.stderr.lower() or "bytes free" in created.stderr
    assert [name for name in disk.files() if not name.startswith("runs/")] == []

    disk.make_room()
    good = Good(site=site)
    snapshot(site)
    brought_back(site, "latest", good=good)


def test_a_snapshot_into_a_file_on_a_full_disk_says_so_and_leaves_no_part(
    site: Site, small_disk: Callable[[Path, int], SmallDisk]
) -> None:
    noise(site)
    disk = small_disk(site.folder / "small", 1_000)
    target = disk.path / "one.pgdump"
    created = site.run("snapshot", "create", "--file", str(target), "--json")
    assert created.returncode == 1, created.stderr
    assert "store-full" in created.stdout
    assert disk.files() == []
    disk.make_room()
    again = site.run("snapshot", "create", "--file", str(target))
    assert again.returncode == 0, again.stderr
    assert disk.files() == ["one.pgdump", "one.pgdump.manifest"]


def test_a_full_disk_comes_with_what_to_do_next(
    site: Site, small_disk: Callable[[Path, int], SmallDisk]
) -> None:
    noise(site)
    disk = small_disk(site.folder / "small", 1_000)
    created = site.run("snapshot", "create", "--file", str(disk.path / "one.pgdump"))
    assert created.returncode == 1, created.stderr
    assert "hint:" in created.stderr


def test_room_for_the_archive_and_none_for_its_manifest_is_no_snapshot(
    site: Site, small_disk: Callable[[Path, int], SmallDisk]
) -> None:
    sized = site.run("snapshot", "create", "--file", str(site.folder / "sized.pgdump"))
    assert sized.returncode == 0, sized.stderr
    archive = (site.folder / "sized.pgdump").stat().st_size
    page = os.sysconf("SC_PAGE_SIZE")
    kilobytes = (-(-archive // page) + 1) * page // 1024
    disk = small_disk(site.folder / "small", kilobytes)
    target = disk.path / "one.pgdump"
    created = site.run("snapshot", "create", "--file", str(target))
    assert created.returncode in {1, 12}, created.stderr
    assert disk.files() == []


@pytest.mark.parametrize("leave", [0, 12_288, *later(4_096, 24_576)])
def test_a_full_state_folder_stops_a_snapshot_and_hurts_nothing(
    site: Site, small_disk: Callable[[Path, int], SmallDisk], leave: int
) -> None:
    disk = small_disk(site.folder / "state", 400)
    disk.fill(leave)
    created = site.run("snapshot", "create")
    assert created.returncode != 0
    assert "no space left" in created.stderr.lower()
    assert "Traceback" not in created.stderr
    disk.make_room()
    good = Good(site=site)
    snapshot(site)
    brought_back(site, "latest", good=good)
    # Every archive that is there is whole, also one of the run that could not write its journal.
    for archive in site.repository.glob("*.pgdump"):
        verified = site.run("snapshot", "verify", archive.name)
        assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("leave", [49_152, *later(16_384, 81_920, 114_688)])
def test_a_state_folder_that_fills_up_during_a_restore_loses_nothing(
    site: Site, small_disk: Callable[[Path, int], SmallDisk], leave: int
) -> None:
    archive = site.dump()
    good = Good(site=site)
    wreck(site)
    broken = Good(site=site)
    disk = small_disk(site.folder / "state", 800)
    disk.fill(leave)

    restored = site.run("restore", str(archive), "--yes")

    assert restored.returncode != 0
    assert "no space left" in restored.stderr.lower()
    assert "Traceback" not in restored.stderr
    disk.make_room()
    for run in site.wiring().runs.all():
        if run.status == "waits":
            ended = site.run("run", "abort", run.run)
            assert ended.returncode == 0, ended.stderr
    # Whichever it is: one database is in use and whole, and the next restore works.
    assert site.fingerprint() in (good.rows, broken.rows)
    assert not any("shadow" in name for name in site.databases())
    assert site.platform_log[-1:] in ([], ["start"])
    again = site.run("restore", str(archive), "--yes")
    assert again.returncode == 0, again.stderr
    good.assert_back()


def test_a_safety_snapshot_that_finds_no_room_is_a_warning(
    site: Site, small_disk: Callable[[Path, int], SmallDisk]
) -> None:
    archive = site.dump()
    good = Good(site=site)
    noise(site)
    disk = small_disk(site.repository, 1_200)
    restored = site.run("restore", str(archive), "--yes")
    assert restored.returncode == 3, restored.stderr
    assert "no safety snapshot" in restored.stderr
    good.assert_back()
    assert [name for name in disk.files() if "pgdump" in name] == []


def test_a_server_without_room_for_the_shadow_is_refused_beforehand(site: Site) -> None:
    snapshot(site)
    wreck(site)
    before = Good(site=site)
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(
        text.replace("server_free_space = 1_000_000_000", "server_free_space = 1000"),
        encoding="utf-8",
    )
    restored = site.run("restore", "latest", "--yes")
    assert restored.returncode == 12
    assert "1,000 bytes free" in restored.stderr
    before.assert_back()


# ── clients that will not go ─────────────────────────────────────────────────────────────────────


@dataclass(kw_only=True)
class Insistent:
    """A client that connects, asks, writes, and connects again when it is thrown out."""

    conninfo: str
    answers: int = 0
    refusals: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def insist(self) -> None:
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.conninfo, autocommit=True) as connection:
                    while not self.stop.is_set():
                        connection.execute("SELECT count(*) FROM artist")
                        self.answers += 1
            except psycopg.Error:
                self.refusals += 1
                time.sleep(0.001)


@contextmanager
def insisting(site: Site, clients: int) -> Iterator[list[Insistent]]:
    conninfo = site.server.conninfo(site.database, user=site.role).reveal()
    all_of_them = [Insistent(conninfo=conninfo) for _ in range(clients)]
    threads = [threading.Thread(target=client.insist) for client in all_of_them]
    for thread in threads:
        thread.start()
    try:
        yield all_of_them
    finally:
        for client in all_of_them:
            client.stop.set()
        for thread in threads:
            thread.join()


def test_clients_that_come_back_at_once_do_not_stop_the_swap(
    new_site: Callable[..., Site], server: EmbeddedServer
) -> None:
    site = new_site(server)
    snapshot(site)
    good = Good(site=site)
    wreck(site)
    broken = site.fingerprint()
    with insisting(site, clients=3) as clients:
        restored = site.run("restore", "latest", "--yes")
        assert restored.returncode == 0, restored.stderr
        # They are served by the restored database now, without being started anew.
        seen = [client.answers for client in clients]
        deadline = time.monotonic() + 30
        while any(client.answers == before for client, before in zip(clients, seen, strict=True)):
            assert time.monotonic() < deadline, "a client is never served again"
            time.sleep(0.01)
    assert all(client.refusals for client in clients)
    good.assert_back()
    (kept,) = set(site.databases()) - {site.database}
    assert site.fingerprint_of_fenced(kept) == broken


def test_a_transaction_that_stays_open_is_ended_and_never_seen_again(site: Site) -> None:
    snapshot(site)
    good = Good(site=site)
    wreck(site)
    broken = site.fingerprint()
    conninfo = site.server.conninfo(site.database, user=site.role).reveal()
    with psycopg.connect(conninfo) as holder:
        holder.execute("UPDATE artist SET name = 'uncommitted'")
        restored = site.run("restore", "latest", "--yes")
        assert restored.returncode == 0, restored.stderr
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")
    good.assert_back()
    (kept,) = set(site.databases()) - {site.database}
    assert site.fingerprint_of_fenced(kept) == broken


def test_a_table_that_is_locked_for_hours_does_not_hold_up_the_restore(site: Site) -> None:
    """A migration that hangs is the reason for many a restore."""
    snapshot(site)
    good = Good(site=site)
    wreck(site)
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(
        text.replace("[database]", "[database]\nlock_timeout_s = 1"), encoding="utf-8"
    )
    holder = psycopg.connect(site.server.conninfo(site.database).reveal())
    holder.execute("LOCK TABLE artist IN ACCESS EXCLUSIVE MODE")
    ended = site.process("restore", "latest", "--yes")
    # The fence has ended the migration's session, if all went well.
    holder.close()
    assert ended.returncode in {0, 3}, ended.stderr
    good.assert_back()


def test_a_superuser_who_may_not_be_ended_is_found_before_anything_is_done(site: Site) -> None:
    archive = site.dump()
    site.sql(f'ALTER ROLE "{site.role}" CREATEDB', database="postgres")
    lines = site.config.read_text(encoding="utf-8").splitlines(keepends=True)
    site.config.write_text(
        "".join(line for line in lines if not line.startswith("admin_dsn_file")), encoding="utf-8"
    )
    before = Good(site=site)
    with site.connection() as superuser:
        refused = site.run("restore", str(archive), "--yes", "--no-owner")
        assert refused.returncode == 12, refused.stderr
        assert "may not end it" in refused.stderr
        assert "hint:" in refused.stderr
        assert superuser.execute("SELECT 1").fetchone() == (1,)
    before.assert_back()
    assert set(site.databases()) == {site.database}
    # Without that session, the same role does it all.
    restored = site.run("restore", str(archive), "--yes", "--no-owner")
    assert restored.returncode in {0, 3}, restored.stderr
    assert site.fingerprint() == before.rows


def test_a_role_with_pg_signal_backend_ends_sessions_of_others(site: Site) -> None:
    archive = site.dump()
    other = new_role(site.server)
    site.sql(f'ALTER ROLE "{site.role}" CREATEDB', database="postgres")
    site.sql(f'GRANT pg_signal_backend TO "{site.role}"', database="postgres")
    lines = site.config.read_text(encoding="utf-8").splitlines(keepends=True)
    site.config.write_text(
        "".join(line for line in lines if not line.startswith("admin_dsn_file")), encoding="utf-8"
    )
    rows = site.fingerprint()
    try:
        conninfo = site.server.conninfo(site.database, user=other).reveal()
        with psycopg.connect(conninfo, autocommit=True) as session:
            restored = site.run("restore", str(archive), "--yes", "--no-owner")
            assert restored.returncode in {0, 3}, restored.stderr
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
        assert site.fingerprint() == rows
    finally:
        site.sql(f'DROP ROLE "{other}"', database="postgres")


# ── two at once ──────────────────────────────────────────────────────────────────────────────────


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.02)


@contextmanager
def restoring(site: Site, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A restore in a process of its own; it is killed if the block ends before it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "alexandria_backup", "--config", str(site.config),
         "restore", "latest", "--yes", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=site.folder,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def hold_at_stop(site: Site) -> Path:
    """Let the command that stops the application wait until a file is there."""
    go = site.folder / "go"
    text = site.config.read_text(encoding="utf-8")
    wait = f"; while [ ! -e {go} ]; do sleep 0.05; done"
    site.config.write_text(
        text.replace('platform.log"]\nstart_command', f'platform.log{wait}"]\nstart_command'),
        encoding="utf-8",
    )
    return go


def test_of_two_restores_one_is_refused_and_the_other_ends_well(site: Site) -> None:
    snapshot(site)
    good = Good(site=site)
    wreck(site)
    go = hold_at_stop(site)
    with restoring(site) as first:
        wait_for(lambda: site.platform_log == ["stop"], first)
        second = site.process("restore", "latest", "--yes")
        assert second.returncode == 22, second.stderr
        assert "hint:" in second.stderr
        back = site.run("rollback", "--yes")
        assert back.returncode == 22, back.stderr
        go.touch()
        _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert site.platform_log == ["stop", "start"]
    good.assert_back()
    assert len(site.databases()) == 2


def test_a_snapshot_is_taken_while_a_restore_runs(site: Site) -> None:
    snapshot(site)
    good = Good(site=site)
    wreck(site)
    go = hold_at_stop(site)
    with restoring(site) as first:
        wait_for(lambda: site.platform_log == ["stop"], first)
        snapshot(site)
        go.touch()
        _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    good.assert_back()


def test_two_databases_of_one_server_are_restored_at_the_same_time(
    new_site: Callable[..., Site], server_any: EmbeddedServer
) -> None:
    one, two = new_site(server_any), new_site(server_any)
    goods = []
    for site in (one, two):
        snapshot(site)
        goods.append(Good(site=site))
        wreck(site)
    go = hold_at_stop(one)
    with restoring(one) as first:
        wait_for(lambda: one.platform_log == ["stop"], first)
        other = two.run("restore", "latest", "--yes")
        assert other.returncode == 0, other.stderr
        go.touch()
        _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    for good in goods:
        good.assert_back()


def test_the_live_database_is_replaced_by_somebody_else_meanwhile(site: Site) -> None:
    """Names are not enough: the database that was agreed to give up is known by its OID."""
    snapshot(site)
    wreck(site)
    go = hold_at_stop(site)
    name = site.database
    with restoring(site) as first:
        wait_for(lambda: site.platform_log == ["stop"], first)
        site.sql(f'ALTER DATABASE "{name}" RENAME TO "{name}_aside"', database="postgres")
        site.sql(f'CREATE DATABASE "{name}"', database="postgres")
        site.sql("CREATE TABLE of_somebody_else (a int)")
        go.touch()
        _, said = first.communicate(timeout=60)
    assert first.returncode not in {0, 3}, said
    assert site.fingerprint() == {"public.of_somebody_else": "0:0"}
    assert f"{name}_aside" in site.databases()


def test_a_run_whose_lock_was_lost_still_keeps_others_out(site: Site) -> None:
    """The lock goes with its session; the shadow's name is a lock, too."""
    snapshot(site)
    good = Good(site=site)
    wreck(site)
    go = hold_at_stop(site)
    with restoring(site) as first:
        wait_for(lambda: site.platform_log == ["stop"], first)
        ended = site.sql(
            "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a "
            "JOIN pg_locks AS l ON l.pid = a.pid AND l.locktype = 'advisory'",
            database="postgres",
        )
        assert ended == [(True,)]
        second = site.process("restore", "latest", "--yes")
        assert second.returncode == 22, second.stderr
        go.touch()
        _, said = first.communicate(timeout=60)
    assert first.returncode in {0, 3}, said
    good.assert_back()


# ── a server that dies ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def mortal_server(server_folder: Path) -> Iterator[EmbeddedServer]:
    """A server of these tests' own, to crash."""
    with EmbeddedServer.start(
        server_folder / "mortal", major=18, settings={"fsync": "off", "shared_buffers": "32MB"}
    ) as server:
        yield server


def end_well(site: Site, ending: str, good: Good, broken: Good) -> None:
    """End the run that waits, if one does, and assert that the application has a whole database."""
    for run in site.wiring().runs.all():
        if run.status == "waits":
            ended = site.run("run", ending, run.run, *(["--yes"] if ending == "resume" else []))
            assert ended.returncode in {0, 3}, ended.stderr
    rows = site.fingerprint()
    assert rows in (good.rows, broken.rows)
    (good if rows == good.rows else broken).assert_back()
    assert not any("shadow" in name for name in site.databases())
    assert site.platform_log[-1] == "start"


@pytest.mark.parametrize(
    ("back_in_time", "ending"),
    [(True, "resume"), (False, "abort"), *later((True, "abort"), (False, "resume"))],
)
def test_a_server_that_crashes_while_the_application_is_stopped(
    mortal_server: EmbeddedServer, new_site: Callable[..., Site], back_in_time: bool, ending: str
) -> None:
    site = new_site(mortal_server)
    snapshot(site)
    good = Good(site=site)
    wreck(site)
    broken = Good(site=site)
    go = hold_at_stop(site)
    with restoring(site) as first:
        wait_for(lambda: site.platform_log == ["stop"], first)
        mortal_server.crash()
        try:
            if back_in_time:
                mortal_server.restart()
            go.touch()
            _, said = first.communicate(timeout=60)
        finally:
            if mortal_server.pid is None:
                mortal_server.restart()
    assert "Traceback" not in said
    assert first.returncode in ({0, 3, 40, 41} if back_in_time else {40, 41}), said
    if first.returncode not in {0, 3}:
        assert "hint:" in said
    end_well(site, ending, good, broken)
