"""A file that appears whole under its name, or not at all, and never over another."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alexandria_backup.errors import ObjectExists
from alexandria_backup.storage.local_errors import translated
from alexandria_backup.storage.placing import place, sync_folder
from alexandria_backup.storage.store import PART_SUFFIX


class NewFile:
    """A file while it is written; it can go back in what it has written."""

    def __init__(self, descriptor: int, target: Path) -> None:
        self._descriptor = descriptor
        self._what = f"`{target}` could not be written"

    def write(self, data: bytes, /) -> int:
        """Write all of `data`; raises StorageError."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        with translated(self._what):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to another place; raises StorageError."""
        with translated(self._what):
            return os.lseek(self._descriptor, offset, whence)

    def sync(self) -> None:
        """Make what was written durable; raises StorageError."""
        with translated(self._what):
            os.fsync(self._descriptor)


@contextmanager
def new_file(target: Path) -> Iterator[NewFile]:
    """Give a file that becomes `target` when the block ends well, whole and durable.

    It is written beside its target as `<name>.<random>.part`. Folders that are missing are made.
    Raises ObjectExists where there is a target, before the block or at its end, and StorageError;
    what the block itself raises comes through. In all these cases nothing is left behind.
    """
    part = target.with_name(f"{target.name[:48]}.{secrets.token_hex(6)}{PART_SUFFIX}")
    what = f"`{target}` could not be written"
    with translated(what):
        if os.path.lexists(target):
            raise ObjectExists(f"`{target}` exists already")
        _make_folder(target.parent)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            file = NewFile(descriptor, target)
            yield file
            file.sync()
        finally:
            os.close(descriptor)
        with translated(what):
            place(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    with translated(f"`{target}` is stored, but may not survive a power cut"):
        sync_folder(target.parent)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        sync_folder(folder.parent)
