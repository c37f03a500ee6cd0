"""The guard of an embedded server: a process that ends PostgreSQL when its parent has gone.

Run as a file (`python -I -S embedded_guard.py DUTY`) with the standard library only, so that it
starts in milliseconds and needs nothing of the parent's environment. It is PostgreSQL's parent, and
a child of the process that wanted the server; nobody can kill that process without closing the pipe
that is the guard's standard input. At its end, however it comes, PostgreSQL is stopped at once, and
the private folder is removed.

DUTY is a JSON object: `user` and `group` (ids to run programs as, or null), `log` (file that takes
the programs' output), `private` (folder to remove at the end), `move` (list of two paths: a folder
to move at the end, and where to; or null), `discard` (a further folder to remove at the end, or
null).

Standard input carries one JSON list per line: `["run", PROGRAM, ARGUMENT, …]`, `["signal", N]` or
`["end"]`. Standard output carries one line per event: `started PID`, `exited STATUS` (negative: the
signal that killed it), `refused TEXT` (the program could not be started) or `kept TEXT` (what had
to be moved at the end stays in the private folder). The parent closes the pipe or orders the end.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

#: Seconds between two looks at who our parent is: a forked child of the parent may hold the pipe
#: open longer than the parent lives.
_LOOK = 0.5
#: Seconds that an immediate shutdown may take before everything is killed.
_PATIENCE = 10.0


class Duty(TypedDict):
    """What the guard is told when it starts; see the module's text."""

    user: int | None
    group: int | None
    log: str
    private: str
    move: tuple[str, str] | None
    discard: str | None


class Guard:
    """Runs one program at a time, and cleans up at the end."""

    def __init__(self, duty: Duty) -> None:
        self._duty = duty
        self._parent = os.getppid()
        self._child: subprocess.Popen[bytes] | None = None
        self._orders = b""
        self._ended = False
        self._wakeup, wakeup_in = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_in, False)
        signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: what is ignored would stay ignored in the programs we start.
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGINT, _nothing)
        signal.signal(signal.SIGHUP, _nothing)
        signal.signal(signal.SIGTERM, self._end)
        # Backends whose postmaster was killed become our children, so that none can be lost.
        self._die_with_us = _prepare_prctl()

    def serve(self) -> None:
        """Obey until the parent is gone or orders the end, then leave nothing behind."""
        while (order := self._next_order()) is not None:
            if order[0] == "run":
                self._run([str(word) for word in order[1:]])
            elif order[0] == "signal" and self._child is not None:
                self._child.send_signal(int(order[1]))
            elif order[0] == "end":
                break
        self._stop_at_once()
        self._tidy()

    def _end(self, _signal: int, _frame: object) -> None:
        self._ended = True

    def _next_order(self) -> list[str | int] | None:
        while b"\n" not in self._orders:
            if self._ended or os.getppid() != self._parent:
                return None
            readable, _, _ = select.select([0, self._wakeup], [], [], _LOOK)
            if self._wakeup in readable:
                os.read(self._wakeup, 4096)
            self._reap()
            if 0 in readable:
                received = os.read(0, 65536)
                if not received:
                    return None
                self._orders += received
        line, self._orders = self._orders.split(b"\n", 1)
        order: list[str | int] = json.loads(line)
        return order

    def _run(self, command: list[str]) -> None:
        user, group = self._duty["user"], self._duty["group"]
        try:
            with open(self._duty["log"], "ab") as log:  # noqa: PTH123 - a string is all we have
                self._child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    user=user,
                    group=group,
                    extra_groups=None if user is None else [],
                    # Safe here: this process has one thread.
                    preexec_fn=self._die_with_us,  # noqa: PLW1509
                )
        except OSError as exc:
            _tell(f"refused {exc}")
        else:
            _tell(f"started {self._child.pid}")

    def _reap(self) -> bool:
        """Collect every child that has ended; return whether any is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if self._child is not None and pid == self._child.pid:
                self._child.returncode = os.waitstatus_to_exitcode(status)
                returncode, self._child = self._child.returncode, None
                # A killed postmaster leaves backends that would stand in a restart's way.
                self._kill_everything()
                _tell(f"exited {returncode}")

    def _stop_at_once(self) -> None:
        if self._child is not None:
            self._child.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + _PATIENCE
        while self._reap():
            if time.monotonic() > deadline:
                self._kill_everything()
                return
            time.sleep(0.01)

    def _kill_everything(self) -> None:
        """Kill all our children, also those that become ours by that, and collect them."""
        while True:
            postmaster = [] if self._child is None else [self._child.pid]
            for pid in {*_children(), *postmaster}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    def _tidy(self) -> None:
        if self._duty["move"] is not None:
            source, target = self._duty["move"]
            try:
                if Path(source).exists():
                    shutil.move(source, target)
            except OSError as exc:
                _tell(f"kept {exc}")
                return
        shutil.rmtree(self._duty["private"], ignore_errors=True)
        if self._duty["discard"] is not None:
            shutil.rmtree(self._duty["discard"], ignore_errors=True)


def _nothing(_signal: int, _frame: object) -> None:
    """Let a signal only wake the loop up."""


def _prepare_prctl() -> Callable[[], None] | None:
    """Adopt orphans; return what a child must call to die with us. None where not Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def die_with_us() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)

    return die_with_us


def _children() -> list[int]:
    me = os.getpid()
    listing = Path(f"/proc/{me}/task/{me}/children")
    return [int(pid) for pid in listing.read_text().split()] if listing.exists() else []


def _tell(event: str) -> None:
    # A parent that is gone hears nothing, and the work goes on.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{event}\n".encode(errors="replace"))


if __name__ == "__main__":
    # Also for the log, which may show data.
    os.umask(0o077)
    Guard(json.loads(sys.argv[1])).serve()
