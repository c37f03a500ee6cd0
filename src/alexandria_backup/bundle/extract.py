"""Putting members back on a disk, in new places that lead nowhere else.

Each root of a bundle is extracted to a path of its own, which must not exist. Below it every folder
is opened from the one above without following links, so no member can reach what lies outside,
whatever was planted there meanwhile.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from alexandria_backup.bundle.dressing import Dresser
from alexandria_backup.bundle.entry import Entry, Kind
from alexandria_backup.errors import BundleDamaged, StorageError, StoreDenied, StoreFull

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_DENIED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, kw_only=True)
class _Open:
    """A folder that is being filled; what it is gets its last touch when all is in it."""

    entry: Entry
    descriptor: int


class Extractor:
    """Takes members in order and makes them; use as a context manager.

    `expected` gives what the manifest says of the members that are to be made, in the same order:
    nanoseconds stand there alone. Raises StorageError, StoreFull, StoreDenied and BundleDamaged.
    """

    def __init__(self, roots: Mapping[bytes, Path], expected: Iterator[Entry]) -> None:
        #: Where each root goes, by its path in the bundle.
        self._roots = roots
        self._expected = expected
        self._folders: list[_Open] = []
        self._dresser = Dresser()
        self.made = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be given back, a sentence each."""
        return tuple(self._dresser.warnings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders:
            os.close(folder.descriptor)

    def take(self, entry: Entry, chunks: Iterator[bytes]) -> None:
        """Make a member; one of another set is passed over."""
        root = self._root_of(entry.path)
        if root is None:
            return
        told = next(self._expected, None)
        if told is None or told.path != entry.path:
            raise BundleDamaged(f"`{entry.shown}` is not what the manifest said a moment ago")
        with _translated(entry):
            self._leave(entry.path)
            with self._parent(entry.path, root) as (parent, name):
                self._make(told, chunks, parent, name)
        self.made += 1

    def finish(self) -> None:
        """Give the last folders their times and owners."""
        self._leave(b"")
        if next(self._expected, None) is not None:
            raise BundleDamaged("the bundle has fewer members than a moment ago")

    def _root_of(self, path: bytes) -> bytes | None:
        if self._folders and path.startswith(self._folders[0].entry.path + b"/"):
            return self._folders[0].entry.path
        at = path
        while at:
            if at in self._roots:
                return at
            at = at.rpartition(b"/")[0]
        return None

    def _leave(self, path: bytes) -> None:
        """Finish the folders that `path` is not in."""
        while self._folders and not path.startswith(self._folders[-1].entry.path + b"/"):
            folder = self._folders.pop()
            with _translated(folder.entry):
                try:
                    self._dresser.dress(folder.entry, folder.descriptor)
                finally:
                    os.close(folder.descriptor)

    @contextmanager
    def _parent(self, path: bytes, root: bytes) -> Iterator[tuple[int, bytes]]:
        """Give the open folder that a member belongs in, and its name there."""
        if path != root:
            yield self._folders[-1].descriptor, path.rpartition(b"/")[2]
            return
        target = self._roots[root]
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor, os.fsencode(target.name)
        finally:
            os.close(descriptor)

    def _make(self, entry: Entry, chunks: Iterator[bytes], parent: int, name: bytes) -> None:
        if entry.kind is Kind.FOLDER:
            os.mkdir(name, 0o700, dir_fd=parent)
            descriptor = os.open(name, _FOLDER, dir_fd=parent)
            self._folders.append(_Open(entry=entry, descriptor=descriptor))
        elif entry.kind is Kind.FILE:
            descriptor = os.open(name, _NEW, 0o600, dir_fd=parent)
            try:
                _fill(descriptor, entry, chunks)
                self._dresser.dress(entry, descriptor)
            finally:
                os.close(descriptor)
        elif entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            self._dresser.dress_link(entry, parent, name)
        else:
            self._link(entry, parent, name)

    def _link(self, entry: Entry, parent: int, name: bytes) -> None:
        root = next((r for r in self._roots if _within(entry.link, r)), None)
        if root is None:
            raise BundleDamaged(f"the hard link `{entry.shown}` leads out of what is restored")
        target = self._roots[root]
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        parts = [os.fsencode(target.name), *entry.link[len(root) + 1 :].split(b"/")]
        parts = [part for part in parts if part]
        try:
            for part in parts[:-1]:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            os.link(
                parts[-1], name, src_dir_fd=descriptor, dst_dir_fd=parent, follow_symlinks=False
            )
        finally:
            os.close(descriptor)


def _within(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(root + b"/")


def _fill(descriptor: int, entry: Entry, chunks: Iterator[bytes]) -> None:
    if entry.extents is None:
        for chunk in chunks:
            _write(descriptor, chunk)
        return
    os.ftruncate(descriptor, entry.size)
    extents = iter(entry.extents)
    left = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            if not left:
                offset, left = next(extents)
                os.lseek(descriptor, offset, os.SEEK_SET)
            piece = rest[:left]
            _write(descriptor, piece)
            left -= len(piece)
            rest = rest[len(piece) :]


def _write(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def _translated(entry: Entry) -> Iterator[None]:
    try:
        yield
    except FileExistsError as exc:
        raise BundleDamaged(
            f"`{entry.shown}` and another name of the bundle are one on this file system, which "
            "does not tell upper from lower case",
            hint="restore it on a file system that does",
        ) from exc
    except OSError as exc:
        full, denied = exc.errno in _FULL, exc.errno in _DENIED
        kind = StoreFull if full else StoreDenied if denied else StorageError
        reason = (exc.strerror or "input/output error").lower()
        raise kind(f"`{entry.shown}` could not be restored: {reason}") from exc
