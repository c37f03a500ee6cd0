"""Copies that hold still: databases by SQLite's online backup, indexes by looking twice.

One copy at a time lies in a folder of its own, for nobody else to read, after a check that it fits.
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from alexandria_backup.errors import SpaceMissing

SQLITE_MAGIC: Final = b"SQLite format 3\x00"
#: How often a file is read that does not hold still, and how long is waited before that.
ATTEMPTS: Final = 4
_PAUSE_S: Final = 0.05
_BUSY_S: Final = 30.0
#: Where a database's header says how it is written, and what it says there for write-ahead mode
#: (https://www.sqlite.org/fileformat.html, 1.3).
_MODE_AT: Final = 18
_WRITE_AHEAD: Final = b"\x02"
_COPY: Final = 1 << 20
#: Left free besides the copy.
_MARGIN: Final = 16 << 20


class Staging:
    """A place for one copy at a time; use as a context manager, so that nothing stays behind."""

    def __init__(self, folder: Path | None) -> None:
        self._parent = folder
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def database(self, path: str) -> Iterator[Path | None]:
        """Give a consistent copy of a SQLite database, in use or not; None where it is unsound.

        A database in write-ahead mode that nobody has open is read without touching its folder:
        SQLite would make files there, which then belong to us.
        """
        target = self._target(_database_bytes(path))
        try:
            yield target if _back_up(path, target) else None
        finally:
            target.unlink(missing_ok=True)

    @contextmanager
    def settled(self, descriptor: int) -> Iterator[tuple[Path, bool]]:
        """Give a copy of an open file, and whether the file held still while it was copied."""
        target = self._target(os.fstat(descriptor).st_size)
        still = False
        try:
            for attempt in range(ATTEMPTS):
                still = _copy(descriptor, target)
                if still:
                    break
                time.sleep(_PAUSE_S * 2**attempt)
            yield target, still
        finally:
            target.unlink(missing_ok=True)

    def _target(self, size: int) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="alexandria-bundle-", dir=self._parent))
        free = shutil.disk_usage(self._folder).free
        if free < size + _MARGIN:
            raise SpaceMissing(
                f"`{self._folder.parent}` has {free:,} bytes free, and a copy of a file in use "
                f"needs {size:,}",
                hint="set `bundle.staging_dir` to a folder with more room",
            )
        target = self._folder / "copy"
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        return target


def same(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether a file held still between two looks at it."""
    return (before.st_size, before.st_mtime_ns, before.st_ino) == (
        after.st_size, after.st_mtime_ns, after.st_ino,
    )  # fmt: skip


def _copy(descriptor: int, target: Path) -> bool:
    before = os.fstat(descriptor)
    with target.open("wb") as file:
        position = 0
        while chunk := os.pread(descriptor, _COPY, position):
            file.write(chunk)
            position += len(chunk)
    return same(before, os.fstat(descriptor)) and position == before.st_size


def _database_bytes(path: str) -> int:
    size = Path(path).stat().st_size
    with suppress(OSError):
        size += Path(f"{path}-wal").stat().st_size
    return size


def _back_up(path: str, target: Path) -> bool:
    # Any other database can be read under SQLite's own locks without a trace.
    in_use = os.path.lexists(f"{path}-wal") or not _writes_ahead(path)
    for attempt in range(ATTEMPTS):
        before = os.stat(path)  # noqa: PTH116 - the path is text, and stays so
        try:
            _online_backup(path, target, immutable=not in_use)
        except sqlite3.Error:
            return False
        now_in_use = os.path.lexists(f"{path}-wal")
        if in_use or (same(before, os.stat(path)) and not now_in_use):  # noqa: PTH116 - as above
            return True
        # Somebody has opened it meanwhile: then SQLite's own locks are needed.
        in_use = True
        time.sleep(_PAUSE_S * 2**attempt)
    return True


def _writes_ahead(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(_MODE_AT + 1)[_MODE_AT:] == _WRITE_AHEAD


def _online_backup(path: str, target: Path, *, immutable: bool) -> None:
    mode = "immutable=1" if immutable else "mode=ro"
    target.write_bytes(b"")
    # As bytes, since a name need not be UTF-8.
    url = f"file:{quote(os.fsencode(path))}?{mode}"
    with (
        closing(sqlite3.connect(url, uri=True, timeout=_BUSY_S)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        copy.execute("PRAGMA journal_mode = off")
        copy.execute("PRAGMA synchronous = off")
        source.backup(copy)
