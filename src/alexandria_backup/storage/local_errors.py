"""What the operating system says about a file, in the words of the errors of stores."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alexandria_backup.errors import ObjectExists, StorageError, StoreDenied, StoreFull

#: What an error number means to the caller; everything else is a plain `StorageError`.
_MEANINGS: Final[dict[int, type[StorageError]]] = {
    errno.EEXIST: ObjectExists,
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EACCES: StoreDenied,
    errno.EPERM: StoreDenied,
    errno.EROFS: StoreDenied,
}

_HINTS: Final[dict[type[StorageError], str]] = {
    StoreFull: "df -h   # free space there, or choose another place",
    StoreDenied: "id   # this user needs the right to read and write there",
}


@contextmanager
def translated(what: str, *, absent: type[StorageError] = StorageError) -> Iterator[None]:
    """Translate `OSError`; `absent` is what a missing path means, which depends on the verb."""
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        missing = number in {errno.ENOENT, errno.ENOTDIR}
        reason = os.strerror(number)
        meaning = absent if missing else _MEANINGS.get(number, StorageError)
        said = f"{what}: {reason[:1].lower()}{reason[1:]}"
        raise meaning(said, hint=_HINTS.get(meaning)) from error
