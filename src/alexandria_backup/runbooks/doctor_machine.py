"""What the doctor says of this machine."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from alexandria_backup.postgres.throwaway_folder import (
    remove_left_over,
    remove_temporary_left_over,
)
from alexandria_backup.runbooks.doctor_diagnosis import Diagnosis, Status, ok

#: Names under which this program is installed.
_OUR_NAMES = ("alexandria", "alex", "alex-cli")


def state_folder(folder: Path) -> Iterator[Diagnosis]:
    """Try whether journals fit where they are kept."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"a journal fits\n")
                file.flush()
                os.fsync(file.fileno())
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        free = shutil.disk_usage(there).free
    except OSError as error:
        yield Diagnosis(
            name="state folder",
            status=Status.FAILED,
            message=f"`{folder}` cannot be written: {error.strerror}",
            hint="export ALEXANDRIA_STATE_DIR=$HOME/alexandria-state",
        )
        return
    how = "can be written" if there == folder else f"will be made in `{there}`"
    yield ok("state folder", f"`{folder}` {how}, {free:,} bytes free")


def left_over(drill_folder: Path) -> Iterator[Diagnosis]:
    """Remove what this user's killed drills and loads have left, and name it."""
    for folder in (*remove_left_over(drill_folder), *remove_temporary_left_over()):
        yield ok("left over", f"`{folder}` of a killed run was removed")


def programs(running: Path, path: Sequence[Path]) -> Iterator[Diagnosis]:
    """Name other programs that are found under our names."""
    ours = running.parent
    for name in _OUR_NAMES:
        first = next((d / name for d in path if os.access(d / name, os.X_OK)), None)
        if first is not None and first.resolve().parent != ours.resolve():
            yield Diagnosis(
                name="program",
                status=Status.WARNING,
                message=f"`{name}` on PATH is `{first}`, another program than this one",
                hint=f"{ours / name} doctor",
            )
