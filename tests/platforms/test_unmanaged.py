import sys
import time
from pathlib import Path

import psutil
import pytest

from alexandria_backup.errors import PlatformRefused
from alexandria_backup.platforms.platform import Platform
from alexandria_backup.platforms.unmanaged import TAIL_CHARACTERS, UnmanagedPlatform


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


NOTHING = python("pass")


def stopping(command: tuple[str, ...], *, timeout_s: float = 30) -> UnmanagedPlatform:
    return UnmanagedPlatform(stop_command=command, start_command=NOTHING, timeout_s=timeout_s)


def test_without_commands_nothing_is_stopped_and_the_record_says_so() -> None:
    platform: Platform = UnmanagedPlatform()
    platform.check()
    record = platform.stop()
    assert not platform.managed
    assert not record.stopped
    assert record.caution is not None
    assert "keeps running" in record.caution
    platform.start(record)


def test_commands_are_run_without_a_shell(tmp_path: Path) -> None:
    log = tmp_path / "a log; with $(spaces)"
    append = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    platform = UnmanagedPlatform(
        stop_command=python(append, str(log), "stop;"),
        start_command=python(append, str(log), "start;"),
    )
    platform.check()
    record = platform.stop()
    assert record.stopped
    assert record.caution is None
    platform.start(record)
    assert log.read_text() == "stop;start;"


def test_what_we_did_not_stop_is_not_started(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    start = python("import sys; open(sys.argv[1], 'w')", str(mark))
    UnmanagedPlatform(stop_command=NOTHING, start_command=start).start(UnmanagedPlatform().stop())
    assert not mark.exists()


def test_the_plan_shows_the_command_ready_to_type() -> None:
    platform = UnmanagedPlatform(
        stop_command=("docker", "compose", "stop", "my api"), start_command=("true",)
    )
    assert "`docker compose stop 'my api'`" in platform.explain_stop()
    assert "`true`" in platform.explain_start()


def test_a_failing_command_shows_its_status_and_the_end_of_its_output() -> None:
    command = python("import sys; print('x' * 5000 + ' no such service'); sys.exit(7)")
    with pytest.raises(PlatformRefused, match=r"exit code 7.* no such service$") as caught:
        stopping(command).stop()
    assert len(caught.value.message.split("exit code 7: ")[1]) <= TAIL_CHARACTERS


def test_a_command_killed_by_a_signal_is_a_failure() -> None:
    with pytest.raises(PlatformRefused, match="signal 9 and said nothing"):
        stopping(python("import os; os.kill(os.getpid(), 9)")).stop()


def test_a_hanging_command_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # A shell, since it is up in an instant also on a busy machine.
    script = 'sleep 600 & echo "$$ $!" > "$1"; echo waiting for drain; wait'
    with pytest.raises(PlatformRefused, match=r"did not end within 2 s.*waiting for drain"):
        stopping(("sh", "-c", script, "sh", str(pids)), timeout_s=2).stop()
    for pid in pids.read_text().split():
        await_gone(int(pid))


def await_gone(pid: int) -> None:
    for _ in range(200):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return  # dead; it is for its new parent to reap it
        except psutil.NoSuchProcess:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


def test_a_service_left_behind_does_not_hold_the_command(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    leave = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))"
    )
    stopping(python(leave, str(pid_file))).stop()
    service = psutil.Process(int(pid_file.read_text()))
    assert service.is_running()
    service.kill()


@pytest.mark.parametrize("command", [("no-such-program-here", "stop"), (), ("/",)])
def test_a_missing_program_is_refused_beforehand(command: tuple[str, ...]) -> None:
    with pytest.raises(PlatformRefused, match="not a program"):
        stopping(command).check()


def test_a_program_that_went_away_is_refused_by_stop() -> None:
    with pytest.raises(PlatformRefused, match="could not be run"):
        stopping(("/no/such/program",)).stop()


def test_half_a_pair_is_refused() -> None:
    with pytest.raises(PlatformRefused, match="`start_command` is not"):
        UnmanagedPlatform(stop_command=NOTHING).check()
    with pytest.raises(PlatformRefused, match="`stop_command` is not"):
        UnmanagedPlatform(start_command=NOTHING).check()


def test_a_command_does_not_see_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALEXANDRIA_DSN", "ALEXANDRIA_DATABASE__ADMIN_DSN", "PGPASSWORD", "PGSERVICEFILE"):
        monkeypatch.setenv(name, "swordfish")
    monkeypatch.setenv("ALEXANDRIA_VERSION", "4.2")
    seen = tmp_path / "environment"
    dump = "import os, sys; open(sys.argv[1], 'w').write(repr(dict(os.environ)))"
    stopping(python(dump, str(seen))).stop()
    assert "swordfish" not in seen.read_text()
    assert "'ALEXANDRIA_VERSION': '4.2'" in seen.read_text()
