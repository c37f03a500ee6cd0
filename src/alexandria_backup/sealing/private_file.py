"""Files that hold a key: read only where nobody else can, made so that nobody else ever could."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from alexandria_backup.errors import ObjectExists, StorageError, WrongKey
from alexandria_backup.secret import is_exposed

#: No key file has more; anything longer is another file by mistake.
_LARGEST: Final = 16_384


def read_private(path: Path, what: str) -> bytes:
    """Return what a key file holds; `what` names it in messages, such as `signing key`.

    WrongKey where it is missing or can be read by others.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_LARGEST)
    except OSError as exc:
        raise WrongKey(f"the {what} `{path}` cannot be read: {exc.strerror}") from exc
    if is_exposed(status):
        raise WrongKey(f"the {what} `{path}` can be read by others", hint=f"chmod 600 {path}")
    return data


def write_private(path: Path, data: bytes, what: str) -> None:
    """Write a new key file for its owner alone (0600), durable when this returns.

    ObjectExists where there is a file of this name: a key is never overwritten. StorageError where
    it cannot be written; then nothing is left.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as exc:
        raise ObjectExists(f"the {what} `{path}` exists already, and is not overwritten") from exc
    except OSError as exc:
        raise StorageError(f"the {what} `{path}` cannot be written: {exc.strerror}") from exc
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as exc:
        with suppress(OSError):
            path.unlink()
        raise StorageError(f"the {what} `{path}` cannot be written: {exc.strerror}") from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network shares know no sync of folders; the file itself is synced.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
