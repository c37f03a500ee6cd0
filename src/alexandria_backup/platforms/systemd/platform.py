"""Stop and start on a host with systemd: mask, stop, unmask, start.

A mask is on the disk: a reboot in the middle of a restore does not start the application.
"""

import os
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from alexandria_backup.errors import ApplicationNotReady, PlatformRefused
from alexandria_backup.platforms.platform import Advice, StoppedUnit, StopRecord
from alexandria_backup.platforms.systemd.memory import Memories, Memory
from alexandria_backup.platforms.systemd.systemctl import Systemctl, Unit

#: The unit of the paper runbook; where none are named, its siblings are stopped with it.
MAIN_UNIT = "alexandria-api.service"
_SIBLINGS = "alexandria-*.service"
#: Siblings that are not the application: this program's own units, the database and what is before
#: it, and what Quadlet makes of networks, volumes and images. Templates have no processes.
_NOT_THE_APPLICATION = re.compile(
    r"^alexandria-(backup|snapshot|drill|prune)\b"
    r"|postgres|pgsql|pgbouncer|\bdb\b|database"
    r"|-(network|volume|image|build|pod)\.service$"
    r"|@\.service$"
)
_LOOK_S = 0.1


def units_folder(*, user: bool) -> Path:
    """Return where masks and drop-ins lie."""
    if not user:
        return Path("/etc/systemd/system")
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "systemd" / "user"


def is_installed(*, user: bool) -> bool:
    """Tell whether the unit of the paper runbook is there; nothing is raised, nothing is run."""
    folders = [units_folder(user=user)]
    if user:
        folders += [Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "systemd/generator"]
    else:
        folders += [Path("/run/systemd/generator"), Path("/usr/lib/systemd/system")]
    return any((folder / MAIN_UNIT).exists() for folder in folders)


@dataclass(frozen=True, kw_only=True)
class SystemdPlatform:
    """A `Platform` whose units are services of systemd."""

    systemctl: Systemctl
    #: Such as `alexandria-api`; empty: that one and its siblings.
    units: tuple[str, ...]
    memories: Memories
    start_patience_s: float

    @property
    def name(self) -> str:
        """Return `systemd`."""
        return "systemd"

    @property
    def managed(self) -> bool:
        """Return true: services are really stopped."""
        return True

    def explain_stop(self) -> str:
        """Return what `stop` will do."""
        names = self.units or (_SIBLINGS,)
        return f"mask and stop the services: `{self.systemctl.command('mask', '--now', *names)}`"

    def explain_start(self) -> str:
        """Return what `start` will do."""
        names = self.units or (_SIBLINGS,)
        unmask, start = (self.systemctl.command(verb, *names) for verb in ("unmask", "start"))
        return f"unmask the services and start those that ran: `{unmask} && {start}`"

    def check(self) -> None:
        """Refuse where there is no systemd, no such unit, or we may not mask."""
        self.systemctl.check()
        self._found()
        folder = self.memories.folder
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not os.access(there, os.W_OK):
            raise PlatformRefused(
                f"this user may not write `{folder}`, where units are masked",
                hint="run it as root, or set `[systemd] user = true` for rootless units",
            )

    def advice(self) -> tuple[Advice, ...]:
        """Return nothing: a masked unit is started by nobody."""
        return ()

    def stop(self) -> StopRecord:
        """Note what runs, mask, stop; systemd returns when the last process has ended."""
        found = self._found()
        units = [self._hold(unit) for unit in found]
        self.systemctl.run("daemon-reload")
        self.systemctl.run("stop", *(unit.name for unit in found))
        record = StopRecord(
            platform=self.name,
            was_running=any(unit.instances for unit in units),
            stopped=True,
            units=tuple(units),
        )
        self.confirm_stopped(record)
        return record

    def confirm_stopped(self, record: StopRecord) -> None:
        """Raise PlatformRefused where a unit runs that was stopped."""
        for unit in record.units:
            if self.systemctl.show(unit.name).runs:
                raise PlatformRefused(
                    f"`{unit.name}` runs while it is to be stopped",
                    hint=self.systemctl.command("status", unit.name),
                )

    def start(self, record: StopRecord) -> None:
        """Unmask what we have masked, start what ran, and forget about it only then."""
        ran = {unit.name: unit.instances > 0 for unit in record.units}
        names = tuple(ran) or self.memories.units()
        memories = {name: self.memories.read(name) for name in names}
        for name, memory in memories.items():
            self._let_go(name, memory)
        starting = [
            name
            for name, memory in memories.items()
            if ran.get(name, memory is not None and memory.ran)
        ]
        self.systemctl.run("daemon-reload")
        if starting:
            self.systemctl.run("start", *starting)
        for name in starting:
            self._wait_until_active(name)
        for name in names:
            self.memories.forget(name)
        self.systemctl.run("daemon-reload")

    def log_since(self, began: datetime) -> str | None:
        """Return what the journal has of the units since then."""
        return self.systemctl.log_since([unit.name for unit in self._found()], began)

    def _found(self) -> tuple[Unit, ...]:
        named = tuple(name if "." in name else f"{name}.service" for name in self.units)
        names = named or tuple(
            name
            for name in self.systemctl.list_services(_SIBLINGS)
            if not _NOT_THE_APPLICATION.search(name)
        )
        if not named and MAIN_UNIT not in names:
            raise PlatformRefused(
                f"there is no unit `{MAIN_UNIT}`",
                hint="export ALEXANDRIA_SYSTEMD__UNITS='my-api my-worker'",
            )
        found = tuple(self.systemctl.show(name) for name in names)
        missing = next((unit.name for unit in found if not unit.known), None)
        if missing is not None:
            raise PlatformRefused(
                f"there is no unit `{missing}`",
                hint=self.systemctl.command("list-unit-files", "--type=service"),
            )
        return found

    def _hold(self, unit: Unit) -> StoppedUnit:
        """Note what is, once, and let nobody start it."""
        memory = self.memories.read(unit.name)
        if memory is None or unit.runs:
            before = memory.masked_before if memory is not None else unit.masked
            holds = self._is_in_the_way(unit)
            memory = Memory(ran=unit.runs, masked_before=before, holds=holds)
            self.memories.write(unit.name, memory)
        if not memory.holds and not unit.masked:
            self.systemctl.run("mask", unit.name)
        return StoppedUnit(name=unit.name, instances=int(memory.ran))

    def _is_in_the_way(self, unit: Unit) -> bool:
        """Tell whether the unit's own file lies where a mask would be put."""
        return not unit.masked and Path(unit.path).parent == self.memories.folder

    def _let_go(self, name: str, memory: Memory | None) -> None:
        if memory is None or memory.masked_before:
            return
        if memory.holds:
            quiet = Memory(ran=memory.ran, masked_before=False)
            self.memories.write(name, quiet)
        else:
            self.systemctl.run("unmask", name)

    def _wait_until_active(self, name: str) -> None:
        deadline = time.monotonic() + self.start_patience_s
        while not (unit := self.systemctl.show(name)).active:
            if not unit.runs or time.monotonic() > deadline:
                scope = "--user-unit" if self.systemctl.user else "--unit"
                raise ApplicationNotReady(
                    f"`{name}` was started and is not active",
                    hint=f"journalctl {scope}={name} --lines=50",
                )
            time.sleep(_LOOK_S)
