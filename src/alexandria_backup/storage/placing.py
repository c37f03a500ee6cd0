"""Giving a finished file its name without ever overwriting another, on any local file system."""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1

#: What link(2) says where a file system has no hard links (FAT, some network shares).
_NO_LINKS = {
    errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL,
}  # fmt: skip


def place(part: Path, target: Path) -> None:
    """Let `part` become `target`: atomically, and only if there is none.

    Both are in one folder. Afterwards `part` is gone. Raises `FileExistsError` and leaves both as
    they were where `target` exists, whoever made it and however late; `OSError` otherwise.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        # Over NFS the answer to a link that succeeded can get lost, and the retry finds its own.
        if not part.samefile(target):
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_without_replacing(part, target)
        return
    part.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system knows how to."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def _rename_without_replacing(part: Path, target: Path) -> None:
    """Call renameat2(2) of Linux; plain rename would silently overwrite."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOTSUP, "the file system has no hard links", str(target))
    failed = library.renameat2(
        _AT_FDCWD, os.fsencode(part), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
    )
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
