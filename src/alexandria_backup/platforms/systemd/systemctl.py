"""`systemctl` and `journalctl`: which words, and what their answers mean."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from shutil import which

from alexandria_backup.errors import PlatformRefused
from alexandria_backup.platforms.unmanaged import TAIL_CHARACTERS, without_secrets

_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "FragmentPath")
#: States in which processes of the unit may run.
_RUNS = {"active", "activating", "reloading", "deactivating", "refreshing"}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What systemd says of a unit."""

    name: str
    known: bool
    runs: bool
    active: bool
    masked: bool
    #: The file that defines it; empty where there is none.
    path: str


@dataclass(frozen=True, kw_only=True)
class Systemctl:
    """The system's manager, or the one of the user that we are."""

    user: bool
    #: Seconds for one command.
    timeout_s: float

    def command(self, *words: str) -> str:
        """Return a command line that a person can type."""
        return shlex.join(self._words(words))

    def check(self) -> None:
        """Raise PlatformRefused where there is no `systemctl`."""
        if which("systemctl") is None:
            raise PlatformRefused(
                "there is no `systemctl` on this machine",
                hint="set `[application] platform` to what runs the application",
            )

    def run(self, *words: str) -> str:
        """Run a command and return what it printed; raises PlatformRefused."""
        return self._run(self._words(words))

    def list_services(self, pattern: str) -> tuple[str, ...]:
        """Return the names of the service units that are installed and fit the pattern."""
        words = ("list-unit-files", "--type=service", "--no-legend", "--plain", "--full")
        # Newer versions end with 1, and without a word, where nothing fits.
        told = self._run(self._words((*words, "--no-pager", pattern)), none_is_1=True)
        return tuple(line.split()[0] for line in told.splitlines() if line.strip())

    def show(self, name: str) -> Unit:
        """Return what is known of a unit, also of one that does not exist."""
        told = self.run("show", name, *(f"--property={key}" for key in _PROPERTIES))
        found = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        return Unit(
            name=name,
            known=found.get("LoadState") not in {"not-found", None},
            runs=found.get("ActiveState") in _RUNS,
            active=found.get("ActiveState") == "active",
            masked=found.get("LoadState") == "masked"
            or found.get("UnitFileState") in {"masked", "masked-runtime"},
            path=found.get("FragmentPath", ""),
        )

    def log_since(self, names: Sequence[str], began: datetime) -> str | None:
        """Return what the units have said since then; None where there is no `journalctl`."""
        if which("journalctl") is None:
            return None
        scope = ("--user",) if self.user else ()
        units = tuple(f"--unit={name}" for name in names)
        since = f"--since=@{int(began.timestamp())}"
        return self._run(("journalctl", *scope, *units, since, "--output=cat", "--no-pager"))

    def _words(self, words: Sequence[str]) -> tuple[str, ...]:
        return ("systemctl", *(("--user",) if self.user else ()), *words)

    def _run(self, command: Sequence[str], *, none_is_1: bool = False) -> str:
        shown = shlex.join(command)
        environment = {**without_secrets(os.environ), "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        if self.user:
            # cron and sudo leave it out, and without it there is no way to the user's manager.
            environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                timeout=self.timeout_s,
                check=False,
            )
        except OSError as error:
            raise PlatformRefused(f"`{shown}` could not be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise PlatformRefused(
                f"`{shown}` did not end within {self.timeout_s:g} s", hint=shown
            ) from None
        said_nothing = not ended.stdout + ended.stderr
        if ended.returncode != 0 and not (none_is_1 and said_nothing):
            said = (ended.stderr or ended.stdout).strip()[-TAIL_CHARACTERS:]
            raise PlatformRefused(
                f"`{shown}` ended with exit code {ended.returncode}: {said or 'it said nothing'}",
                hint=shown,
            )
        return ended.stdout
