"""What ran before a stop, in a drop-in beside the unit, so that no kill and no reboot loses it.

systemd ignores sections that begin with `X-`. Where a unit cannot be masked, since its own file
lies where the mask would, the drop-in also holds a condition that no machine fulfils.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.errors import PlatformRefused

FILE_NAME = "zz-alexandria-backup.conf"
_SECTION = "[X-AlexandriaBackup]"
_NEVER = "[Unit]\nConditionPathExists=!/\n"
_HEAD = (
    "# alexandria-backup: the application is stopped for a restore, and this goes when it starts.\n"
)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What we have noted of one unit."""

    ran: bool
    #: Whether it was masked before we came.
    masked_before: bool
    #: Whether the drop-in keeps the unit down itself.
    holds: bool = False


@dataclass(frozen=True, kw_only=True)
class Memories:
    """The drop-ins of one manager's units."""

    #: Where units are configured, such as `/etc/systemd/system`.
    folder: Path

    def units(self) -> tuple[str, ...]:
        """Return the units of which there is a memory."""
        found = self.folder.glob(f"*.service.d/{FILE_NAME}")
        return tuple(sorted(path.parent.name.removesuffix(".d") for path in found))

    def read(self, unit: str) -> Memory | None:
        """Return what was noted; None where nothing was."""
        try:
            text = self._path(unit).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(unit, error) from error
        lines = text.splitlines()
        return Memory(
            ran="Ran=yes" in lines,
            masked_before="MaskedBefore=yes" in lines,
            holds=_NEVER.splitlines()[1] in lines,
        )

    def write(self, unit: str, memory: Memory) -> None:
        """Note it, and have it on the disk before anything is stopped."""
        text = (
            f"{_HEAD}{_NEVER if memory.holds else ''}{_SECTION}\n"
            f"Ran={_word(memory.ran)}\nMaskedBefore={_word(memory.masked_before)}\n"
        )
        path = self._path(unit)
        fresh = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            _sync(path.parent)
            _sync(self.folder)
        except OSError as error:
            raise self._refused(unit, error) from error

    def forget(self, unit: str) -> None:
        """Take the drop-in away; its folder too, where nothing else is in it."""
        path = self._path(unit)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise self._refused(unit, error) from error

    def _path(self, unit: str) -> Path:
        return self.folder / f"{unit}.d" / FILE_NAME

    def _refused(self, unit: str, error: OSError) -> PlatformRefused:
        return PlatformRefused(
            f"`{self._path(unit)}` cannot be used: {error.strerror}",
            hint=f"ls -ld {self.folder}   # the system's units are root's",
        )


def _word(value: bool) -> str:
    return "yes" if value else "no"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
