"""Stop and start the stand-in application: what `[application] stop_command` calls in the demo.

    python -m alexandria_backup.demo.control start|stop --folder DIR [--writes-per-second N]

Both are idempotent. Exit 0: it is as asked; 1: it is not, and standard error says why.
"""

import argparse
import contextlib
import fcntl
import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.demo.keeper import is_held
from alexandria_backup.errors import PlatformRefused

#: Seconds for the application to answer, and to end.
_PATIENCE_S = 30.0
#: Seconds after which an application that does not end by itself is killed.
_GRACE_S = 10.0
_LOOK_S = 0.02


def start(folder: ApplicationFolder, *, writes_per_second: float) -> None:
    """Start the application and wait until it answers, whatever it says.

    Raises `PlatformRefused` if it does not come up, or if no demo keeps the folder.
    """
    if not is_held(folder.keeper_file):
        raise PlatformRefused(f"no demo keeps `{folder.root}`, so nothing may run there")
    with folder.pid_file.open("ab") as lock:
        process = _launch(folder, lock, writes_per_second) if _take(lock, folder) else None
    try:
        _await_answer(folder)
    finally:
        if process is not None and process.poll() is None:
            # It is left to itself now; without this, Popen would warn that it still runs.
            process.returncode = 0


def _await_answer(folder: ApplicationFolder) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not _answers(folder):
        if running(folder) is None:
            raise PlatformRefused(f"the application ended while it started{_tail(folder.log_file)}")
        if time.monotonic() > deadline:
            stop(folder)
            raise PlatformRefused(
                f"the application did not answer in {_PATIENCE_S:g} s{_tail(folder.log_file)}"
            )
        time.sleep(_LOOK_S)


def _take(lock: IO[bytes], folder: ApplicationFolder) -> bool:
    """Lock the pid file; return False if the application runs."""
    while running(folder) is None:
        with contextlib.suppress(BlockingIOError):  # somebody looks, or starts it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOOK_S)
    return False


def _launch(
    folder: ApplicationFolder, lock: IO[bytes], writes_per_second: float
) -> subprocess.Popen[bytes]:
    """Start the process; it inherits the lock, so it counts as running from its first instant."""
    lock.truncate(0)
    command = [
        *(sys.executable, "-m", "alexandria_backup.demo.application"),
        *("--dsn-file", str(folder.dsn_file), "--key-file", str(folder.key_file)),
        *("--port-file", str(folder.port_file), "--pid-descriptor", str(lock.fileno())),
        *("--log-file", str(folder.log_file), "--keeper-file", str(folder.keeper_file)),
        *("--writes-per-second", str(writes_per_second)),
    ]
    with folder.log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=(lock.fileno(),),
            start_new_session=True,
        )


def stop(folder: ApplicationFolder) -> None:
    """Stop the application and wait for its end; kill it if it does not end by itself."""
    began = time.monotonic()
    sent: signal.Signals | None = None
    last: int | None = None
    while (pid := running(folder)) is not None:
        last = pid
        waited = time.monotonic() - began
        if waited > _PATIENCE_S:
            raise PlatformRefused(f"the application, process {pid}, cannot be killed")
        wanted = signal.SIGKILL if waited > _GRACE_S else signal.SIGTERM
        if wanted is not sent:
            with contextlib.suppress(ProcessLookupError):  # it may end at this very moment
                os.kill(pid, wanted)
            sent = wanted
        time.sleep(_LOOK_S)
    # Its lock is free a moment before the process is gone.
    while last is not None and _exists(last) and time.monotonic() < began + _GRACE_S:
        time.sleep(_LOOK_S)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Tell whether only its parent's question is missing; in a container nobody may ever ask."""
    try:
        # Behind the last bracket, since the program's name may hold some: the state's letter.
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] == ["Z"]


def running(folder: ApplicationFolder) -> int | None:
    """Return the application's process, or None.

    The lock on its pid file tells whether it lives, so a number that was given to another process
    meanwhile harms nobody.
    """
    while True:
        try:
            with folder.pid_file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            text = folder.pid_file.read_text().strip()
            if text:
                return int(text)
            # It starts, and has not yet written its number.
            time.sleep(_LOOK_S)
        else:
            return None


def _answers(folder: ApplicationFolder) -> bool:
    try:
        port = int(folder.port_file.read_text())
    except (FileNotFoundError, ValueError):
        return False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-5:]
    return ": " + " | ".join(lines) if lines else " and said nothing"


def start_command(root: Path, *, writes_per_second: float) -> tuple[str, ...]:
    """Return what to set as `[application] start_command`."""
    return (*_command("start", root), "--writes-per-second", str(writes_per_second))


def stop_command(root: Path) -> tuple[str, ...]:
    """Return what to set as `[application] stop_command`."""
    return _command("stop", root)


def _command(verb: str, root: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "alexandria_backup.demo.control", verb, "--folder", str(root))


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and do it; return the exit code."""
    parser = argparse.ArgumentParser(prog="control", description="stop or start the application")
    parser.add_argument("verb", choices=("start", "stop"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--writes-per-second", type=float, default=20.0)
    options = parser.parse_args(arguments)
    folder = ApplicationFolder(root=options.folder.absolute())
    try:
        if options.verb == "start":
            start(folder, writes_per_second=options.writes_per_second)
        else:
            stop(folder)
    except PlatformRefused as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
