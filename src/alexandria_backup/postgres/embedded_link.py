"""Our end of the pipe to the guard of an embedded server; the protocol stands in its module."""

import contextlib
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from alexandria_backup.errors import ClientToolFailed
from alexandria_backup.postgres import embedded_guard
from alexandria_backup.postgres.embedded_guard import Duty
from alexandria_backup.postgres.embedded_place import Place

#: Nothing of ours reaches the programs: neither `PG*` variables nor a locale they may not know.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
#: Lines of the log that an error shows.
_LOG_TAIL = 6


class GuardLink:
    """Starts the guard, gives it orders and hears its events.

    The guard runs in a session of its own: a Ctrl-C at the terminal reaches us and not it.
    """

    def __init__(self, place: Place, log: Path, *, discard: Path | None = None) -> None:
        """`discard` is a folder that goes with the server; what is in it is not kept."""
        self._place = place
        self._discard = discard
        self._log = log
        self._running: int | None = None
        self._heard = b""
        self._lock: int | None = place.lock
        account = place.account
        duty: Duty = {
            "user": None if account is None else account.uid,
            "group": None if account is None else account.gid,
            "log": str(log),
            "private": str(place.private),
            "move": None
            if discard is not None or place.data == place.home
            else (str(place.data), str(place.home)),
            "discard": None if discard is None else str(discard),
        }
        # Pipes of Popen are not inherited by our other children, so only we hold the guard alive.
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", embedded_guard.__file__, json.dumps(duty)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env=_ENVIRONMENT,
                bufsize=0,
                start_new_session=True,
                # The folder is in use as long as the guard lives.
                pass_fds=(place.lock,),
            )
        except OSError as exc:
            # Nobody else is there to remove it.
            shutil.rmtree(place.private, ignore_errors=True)
            os.close(place.lock)
            raise ClientToolFailed(
                f"the guard of the embedded server could not be started: {exc}"
            ) from exc

    def run(self, command: Sequence[str]) -> int:
        """Run a program and return its process id; `ClientToolFailed` where it cannot start."""
        self._order(["run", *command])
        word, _, rest = self._next_event(deadline=None).partition(" ")
        while word == "exited":
            word, _, rest = self._next_event(deadline=None).partition(" ")
        if word != "started":
            raise self.failure(f"`{Path(command[0]).name}` could not be started: {rest}")
        self._running = int(rest)
        return self._running

    def running(self) -> int | None:
        """Return the process id of the program, or None where it has ended."""
        self.poll(0)
        return self._running

    def poll(self, seconds: float) -> int | None:
        """Wait this long for the program's end; return its exit status, or None while it runs."""
        if self._running is None:
            return None
        event = self._next_event(deadline=time.monotonic() + seconds)
        if not event:
            return None
        self._running = None
        return int(event.removeprefix("exited "))

    def signal(self, number: int) -> None:
        """Send the program a signal; nothing where it has ended."""
        self._order(["signal", number])

    def end(self) -> None:
        """Let the guard stop what runs, tidy up and end; wait for it.

        Raises `ClientToolFailed` where data could not be moved from the private folder.
        """
        # A guard that was killed took PostgreSQL with it: only its exit is left to collect.
        with contextlib.suppress(ClientToolFailed):
            self._order(["end"])
        rest, _ = self._guard.communicate()
        self._running = None
        self._release()
        if self._guard.returncode != 0 and (self._discard or self._place.data == self._place.home):
            shutil.rmtree(self._place.private, ignore_errors=True)
            if self._discard is not None:
                shutil.rmtree(self._discard, ignore_errors=True)
        for line in (self._heard + rest).decode(errors="replace").splitlines():
            if line.startswith("kept "):
                raise ClientToolFailed(
                    f"the data of the embedded server could not be moved: {line[5:]}"
                )

    def _release(self) -> None:
        """Nobody uses the private folder any more; twice is fine."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def failure(self, what: str) -> ClientToolFailed:
        """Make an error that shows the end of the log, and in one line."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        except OSError:
            lines = []
        said = "; ".join(line.strip() for line in lines if line.strip())
        # A throwaway server takes its log along.
        hint = None if self._discard is not None else shlex.join(("less", str(self._log)))
        return ClientToolFailed(f"{what}: {said}" if said else what, hint=hint)

    def _order(self, order: Sequence[str | int]) -> None:
        assert self._guard.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            self._guard.stdin.write(json.dumps(order).encode() + b"\n")
        except (BrokenPipeError, ValueError) as exc:
            raise self._lost() from exc

    def _next_event(self, *, deadline: float | None) -> str:
        """Return the next line, or an empty one when the deadline has passed."""
        assert self._guard.stdout is not None  # noqa: S101 - a pipe was asked for
        while b"\n" not in self._heard:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._guard.stdout], [], [], left)
            if not readable:
                return ""
            received = os.read(self._guard.stdout.fileno(), 65536)
            if not received:
                raise self._lost()
            self._heard += received
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode(errors="replace")

    def _lost(self) -> ClientToolFailed:
        self._running = None
        return self.failure("the guard of the embedded server has ended, and the server with it")
