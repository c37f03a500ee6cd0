"""An application that nothing we know runs: the operator's own commands, or none.

With `[application] stop_command` and `start_command` (argument lists, never a shell) those are
run. Without them the application is left alone and the fence around the database is the lock.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from shutil import which
from typing import IO

from alexandria_backup.errors import PlatformRefused
from alexandria_backup.platforms.platform import Advice, StopRecord

#: How much of a failed command's output goes into the error.
TAIL_CHARACTERS = 600

_NOT_STOPPED = "no `stop_command` is set, so the application keeps running during the exchange"


@dataclass(frozen=True, kw_only=True)
class UnmanagedPlatform:
    """A `Platform` that runs the operator's commands, if there are any."""

    #: Such as `("docker", "compose", "stop", "api")`; None where nothing is to be run.
    stop_command: tuple[str, ...] | None = None
    #: The counterpart of `stop_command`: both are set, or none.
    start_command: tuple[str, ...] | None = None
    #: How long each command may take, in seconds.
    timeout_s: float = 120.0

    @property
    def name(self) -> str:
        """Return `unmanaged`."""
        return "unmanaged"

    @property
    def managed(self) -> bool:
        """Return whether there are commands to run."""
        return self.stop_command is not None

    def explain_stop(self) -> str:
        """Return what `stop` will do."""
        if self.stop_command is None:
            return "leave the application running, as no `stop_command` is set: `true`"
        return (
            f"stop the application with the operator's command: `{shlex.join(self.stop_command)}`"
        )

    def explain_start(self) -> str:
        """Return what `start` will do."""
        if self.start_command is None:
            return "leave the application alone, as no `start_command` is set: `true`"
        return (
            f"start the application with the operator's command: `{shlex.join(self.start_command)}`"
        )

    def check(self) -> None:
        """Refuse half a pair of commands, and programs that are not there."""
        if (self.stop_command is None) != (self.start_command is None):
            there, lacking = (
                ("start_command", "stop_command")
                if self.stop_command is None
                else ("stop_command", "start_command")
            )
            raise PlatformRefused(
                f"`{there}` is set and `{lacking}` is not, so the application could not be "
                "brought back to where it was",
                hint=f"set `[application] {lacking}` as well, or none of the two",
            )
        for command in (self.stop_command, self.start_command):
            if command is not None:
                _check_program(command)

    def advice(self) -> tuple[Advice, ...]:
        """Return nothing: nobody that we know of starts it behind our back."""
        return ()

    def stop(self) -> StopRecord:
        """Run `stop_command`; without one, say in the record that nothing was stopped."""
        if self.stop_command is None:
            return StopRecord(
                platform=self.name, was_running=None, stopped=False, caution=_NOT_STOPPED
            )
        _run(self.stop_command, timeout_s=self.timeout_s)
        return StopRecord(platform=self.name, was_running=None, stopped=True)

    def confirm_stopped(self, record: StopRecord) -> None:
        """Raise nothing: whether it runs is not known here."""

    def log_since(self, began: datetime) -> str | None:  # noqa: ARG002 - the port's form
        """Return None: where its log is, is not known here."""
        return None

    def start(self, record: StopRecord) -> None:
        """Run `start_command` if `record` says that we stopped the application."""
        if self.start_command is not None and record.stopped:
            _run(self.start_command, timeout_s=self.timeout_s)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` without our DSNs and libpq's variables.

    Other variables stay, also ours: a compose file may well read its version from one.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PG") and not (name.startswith("ALEXANDRIA_") and "DSN" in name)
    }


def _check_program(command: Sequence[str]) -> None:
    if not command or which(command[0]) is None:
        program = command[0] if command else ""
        raise PlatformRefused(
            f"`{program}` is not a program that can be run here",
            hint="check `[application] stop_command` and `start_command`",
        )


def _run(command: Sequence[str], *, timeout_s: float) -> None:
    """Run `command` to its end; it gets a process group of its own, so that a timeout ends all.

    The output goes to a file: a command may leave a service behind that keeps its output open, and
    reading a pipe to its end would wait for that service.
    """
    shown = shlex.join(command)
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=without_secrets(os.environ),
                start_new_session=True,
            )
        except OSError as exc:
            raise PlatformRefused(
                f"`{shown}` could not be run: {exc.strerror}",
                hint="check `[application] stop_command` and `start_command`",
            ) from exc
        try:
            status = process.wait(timeout=timeout_s)
        except BaseException as exc:
            _end_group(process)
            if not isinstance(exc, subprocess.TimeoutExpired):
                raise
            raise PlatformRefused(
                f"`{shown}` did not end within {timeout_s:g} s and was killed{_tail(output)}",
                hint=shown,
            ) from exc
        if status != 0:
            ended = f"exit code {status}" if status > 0 else f"signal {-status}"
            raise PlatformRefused(f"`{shown}` ended with {ended}{_tail(output)}", hint=shown)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may end by itself in the meantime
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - 4 * TAIL_CHARACTERS))
    text = output.read().decode(errors="replace").strip()[-TAIL_CHARACTERS:]
    return f": {text}" if text else " and said nothing"
