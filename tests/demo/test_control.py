import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from deployed_support import eventually

from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.report import Status
from alexandria_backup.audit.verify import verify_live
from alexandria_backup.demo import control
from alexandria_backup.demo.audit_tip import tip_is_sound
from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.platforms.readiness import ReadinessProbe
from alexandria_backup.platforms.unmanaged import UnmanagedPlatform
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

RATE = 100.0


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def platform(folder: ApplicationFolder) -> Iterator[UnmanagedPlatform]:
    """The application behind the commands that the demo sets."""
    platform = UnmanagedPlatform(
        stop_command=control.stop_command(folder.root),
        start_command=control.start_command(folder.root, writes_per_second=RATE),
    )
    platform.check()
    yield platform
    platform.stop()
    assert control.running(folder) is None


@pytest.fixture
def probe(folder: ApplicationFolder, platform: UnmanagedPlatform) -> ReadinessProbe:
    """The running application."""
    control.start(folder, writes_per_second=RATE)
    return ReadinessProbe(url=folder.url())


def pid_of(folder: ApplicationFolder) -> int:
    pid = control.running(folder)
    assert pid is not None
    return pid


def messages(session: Session) -> int:
    return int(session.value("SELECT count(*) FROM public.messages"))


def test_it_is_ready_and_licensed(probe: ReadinessProbe) -> None:
    probe.wait_ready(patience_s=30)
    report = probe.license()
    assert (report.tier, report.seats, report.missing) == ("enterprise", 100, ())


def test_stop_and_start_are_idempotent_and_keep_the_port(
    folder: ApplicationFolder, platform: UnmanagedPlatform, probe: ReadinessProbe
) -> None:
    first = pid_of(folder)
    platform.start(platform.stop())
    second = pid_of(folder)
    assert second != first
    assert is_gone(first)
    assert folder.url() == probe.url
    record = platform.stop()
    assert platform.stop() == record
    assert is_gone(second)
    assert not probe.is_ready()
    platform.start(record)
    third = pid_of(folder)
    platform.start(record)
    assert pid_of(folder) == third
    probe.wait_ready(patience_s=30)
    assert folder.log_file.read_text().count("INFO stopped") == 2


def test_a_killed_application_leaves_no_trace_that_deceives(
    folder: ApplicationFolder, platform: UnmanagedPlatform, probe: ReadinessProbe
) -> None:
    os.kill(pid_of(folder), signal.SIGKILL)
    eventually(lambda: control.running(folder) is None)
    platform.start(platform.stop())
    probe.wait_ready(patience_s=30)


def test_the_application_ends_with_its_keeper(
    folder: ApplicationFolder, probe: ReadinessProbe, keeper: subprocess.Popen[bytes]
) -> None:
    pid = pid_of(folder)
    keeper.send_signal(signal.SIGKILL)
    eventually(lambda: is_gone(pid) and control.running(folder) is None)


def test_nothing_is_started_without_a_keeper(
    folder: ApplicationFolder,
    keeper: subprocess.Popen[bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    keeper.kill()
    keeper.wait()
    assert control.main(["start", "--folder", str(folder.root)]) == 1
    assert "no demo keeps" in capsys.readouterr().err
    assert control.running(folder) is None


def test_an_application_that_cannot_start_says_why(
    folder: ApplicationFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.dsn_file.write_text("postgresql://u:swordfish@[broken")
    assert control.main(["start", "--folder", str(folder.root)]) == 1
    told = capsys.readouterr().err
    assert "ended while it started" in told
    assert "DSN is malformed" in told
    assert "swordfish" not in told + folder.log_file.read_text()


def test_a_fence_makes_it_unready_until_it_is_lifted(
    folder: ApplicationFolder, probe: ReadinessProbe, server18: EmbeddedServer
) -> None:
    probe.wait_ready(patience_s=30)
    dsn = Dsn.parse(Secret(folder.dsn_file.read_text()))
    with connect(Dsn.parse(server18.conninfo()), purpose="test") as session:
        session.execute(f'ALTER DATABASE "{dsn.database}" ALLOW_CONNECTIONS false')
        session.all(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (dsn.database,),
        )
        answer = probe.ask()
        assert not answer.ready
        assert answer.said.startswith("503: ")
        session.execute(f'ALTER DATABASE "{dsn.database}" ALLOW_CONNECTIONS true')
    probe.wait_ready(patience_s=30)


def test_it_writes_and_goes_on_after_its_connections_are_lost(
    folder: ApplicationFolder, probe: ReadinessProbe
) -> None:
    with connect(Dsn.parse(Secret(folder.dsn_file.read_text())), purpose="test") as session:
        before = messages(session)
        eventually(lambda: messages(session) > before)
        session.all(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'alexandria writer'"
        )
        eventually(lambda: "WARNING the writer lost" in folder.log_file.read_text())
        after = messages(session)
        eventually(lambda: messages(session) > after)
    probe.wait_ready(patience_s=30)


def test_what_it_writes_carries_the_chain_on_over_a_restart(
    folder: ApplicationFolder, platform: UnmanagedPlatform, probe: ReadinessProbe
) -> None:
    with connect(Dsn.parse(Secret(folder.dsn_file.read_text())), purpose="test") as session:

        def rows() -> int:
            return int(session.value("SELECT count(*) FROM public.audit_logs"))

        for _ in range(2):
            before = rows()
            eventually(lambda before=before: rows() > before)  # type: ignore[misc]
            platform.start(platform.stop())
        platform.stop()
        report = verify_live(
            session, recipe=ALEXANDRIA_V1, key=AuditKey.load(folder.key_file, "raw")
        )
        assert (report.status, report.rows, report.findings) == (Status.INTACT, rows(), ())
        assert tip_is_sound(session, key=folder.key_file.read_bytes())
    assert "audit integrity" not in folder.log_file.read_text()


def test_a_tip_that_does_not_verify_is_warned_of(
    folder: ApplicationFolder, platform: UnmanagedPlatform
) -> None:
    with connect(Dsn.parse(Secret(folder.dsn_file.read_text())), purpose="test") as session:
        session.execute(
            "UPDATE public.audit_logs SET action = 'edited'"
            " WHERE id = (SELECT max(id) FROM public.audit_logs)"
        )
    control.start(folder, writes_per_second=0)
    eventually(lambda: "WARNING audit integrity" in folder.log_file.read_text())


def test_two_starts_at_once_give_one_application(
    folder: ApplicationFolder, platform: UnmanagedPlatform
) -> None:
    command = control.start_command(folder.root, writes_per_second=RATE)
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    applications = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(folder.dsn_file) in (process.info["cmdline"] or [])
    ]
    assert applications == [pid_of(folder)]


def test_a_stop_in_the_middle_of_a_start_stops_it(
    folder: ApplicationFolder, platform: UnmanagedPlatform
) -> None:
    command = control.start_command(folder.root, writes_per_second=RATE)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as starting:
        eventually(lambda: control.running(folder) is not None)
        platform.stop()
        starting.wait()
    assert control.running(folder) is None


def test_no_command_line_holds_a_secret(folder: ApplicationFolder, probe: ReadinessProbe) -> None:
    secret = folder.dsn_file.read_text()
    assert all(secret not in word for word in psutil.Process(pid_of(folder)).cmdline())


def test_without_a_keeper_file_it_ends_with_its_parent(
    folder: ApplicationFolder, tmp_path: Path
) -> None:
    port_file = tmp_path / "port"
    command = [
        *(sys.executable, "-m", "alexandria_backup.demo.application"),
        *("--dsn-file", str(folder.dsn_file), "--key-file", str(folder.key_file)),
        *("--port-file", str(port_file), "--log-file", str(tmp_path / "log")),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        eventually(port_file.exists)
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 1
