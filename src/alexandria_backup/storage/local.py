"""Objects as files of a local folder, with the care of a database for every file.

A file is written as `<name>.<random>.part` beside its target, synced, given its name without
overwriting, and the folder is synced. A killed run leaves its `.part`, which no listing shows.
"""

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from alexandria_backup.errors import ObjectMissing, StorageError
from alexandria_backup.storage.local_errors import translated
from alexandria_backup.storage.new_file import NewFile, new_file
from alexandria_backup.storage.placing import sync_folder
from alexandria_backup.storage.store import ObjectInfo, check_name, check_prefix, is_name

_CHUNK = 1024 * 1024


class LocalStore:
    """An `ObjectStore` in a folder, which is made with the first object.

    Files are for the owner alone (0600), and so are the folders that this store makes (0700).
    Symbolic links to files are read; those to folders are not listed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self.url = str(self._root)

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        self.put_stream(name, (data,))

    def put_stream(
        self,
        name: str,
        chunks: Iterable[bytes],
        *,
        expected_size: int | None = None,  # noqa: ARG002 - files have no parts
    ) -> int:
        """See `ObjectStore.put_stream`."""
        size = 0
        with new_file(self._path(name)) as file:
            for chunk in chunks:
                size += file.write(chunk)
        return size

    def put_seekable(self, name: str, write: Callable[[NewFile], int]) -> int:
        """Store an object as `put_stream` does, but let `write` go back in what it has written.

        Returns what `write` returns.
        """
        with new_file(self._path(name)) as file:
            return write(file)

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        return b"".join(self.read(name))

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        path = self._path(name)
        with translated(f"`{path}` could not be read", absent=ObjectMissing):
            # Looked at before it is opened: opening a named pipe would wait for its writer.
            size = _regular_size(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            done = start
            os.lseek(descriptor, start, os.SEEK_SET)
            while chunk := _read(descriptor, path):
                done += len(chunk)
                yield chunk
        finally:
            os.close(descriptor)
        if done != max(size, start):
            raise StorageError(f"`{path}` gave {done} bytes instead of {size}")

    def head(self, name: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        path = self._path(name)
        try:
            with translated(f"`{path}` could not be examined", absent=ObjectMissing):
                status = path.stat()
        except ObjectMissing:
            return None
        return _info(name, status) if S_ISREG(status.st_mode) else None

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`.

        The folder `lost+found` of a disk's root belongs to fsck and is not visited. Files whose
        names no object could have are left out.
        """
        check_prefix(prefix)
        identity = self._identity()
        folder, slash, start = prefix.rpartition("/")
        folders = [folder + slash]
        while folders:
            for name, entry in self._entries(folders.pop(), start):
                if entry.is_dir(follow_symlinks=False):
                    if recursive and name != "lost+found":
                        folders.append(f"{name}/")
                elif (info := _regular_info(name, entry)) is not None:
                    yield info
            start = ""
        if self._identity() != identity:
            raise StorageError(f"the folder `{self._root}` was replaced while it was listed")

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        path = self._path(name)
        what = f"`{path}` could not be removed"
        with suppress(ObjectMissing), translated(what, absent=ObjectMissing):
            path.unlink()
            sync_folder(path.parent)

    def local_path(self, name: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        return self._path(name) if self.head(name) else None

    def free_bytes(self) -> int | None:
        """Return what the file system of the folder (or of where it will be) has free for us."""
        folder = self._root
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with translated(f"the free space of `{folder}` could not be read"):
            status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._root / name

    def _identity(self) -> tuple[int, int]:
        """Tell this folder from the empty one that appears when its disk is unmounted."""
        try:
            with translated(f"`{self._root}` could not be examined", absent=ObjectMissing):
                status = self._root.stat()
        except ObjectMissing as error:
            raise StorageError(
                f"the folder `{self._root}` does not exist",
                hint=f"mount its disk, or make it: mkdir -p {shlex.quote(str(self._root))}",
            ) from error
        return status.st_dev, status.st_ino

    def _entries(self, folder: str, start: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Give what lies in a folder and begins with `start`; nothing where it is gone."""
        path = self._root / folder
        what = f"the folder `{path}` could not be listed"
        try:
            with translated(what, absent=ObjectMissing), os.scandir(path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except ObjectMissing:
            return
        for entry in entries:
            name = folder + entry.name
            if entry.name.startswith(start) and is_name(name):
                yield name, entry


def _read(descriptor: int, path: Path) -> bytes:
    with translated(f"`{path}` could not be read"):
        return os.read(descriptor, _CHUNK)


def _regular_size(path: Path) -> int:
    status = path.stat()
    if not S_ISREG(status.st_mode):
        raise ObjectMissing(f"`{path}` is not a file")
    return status.st_size


def _regular_info(name: str, entry: os.DirEntry[str]) -> ObjectInfo | None:
    try:
        with translated(f"`{entry.path}` could not be examined", absent=ObjectMissing):
            status = entry.stat()
    except ObjectMissing:
        return None  # removed since the folder was read, or a link that leads nowhere
    return _info(name, status) if S_ISREG(status.st_mode) else None


def _info(name: str, status: os.stat_result) -> ObjectInfo:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ObjectInfo(name=name, size=status.st_size, modified=modified)
