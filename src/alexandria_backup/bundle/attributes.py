"""What the system says of a path besides its content: owner, mode, times, extended attributes."""

import grp
import os
import pwd
from contextlib import suppress
from functools import lru_cache
from stat import S_IMODE
from typing import Final

from alexandria_backup.bundle.entry import Entry, Kind, Problem

_BILLION: Final = 1_000_000_000
_HAS_ATTRIBUTES: Final = hasattr(os, "listxattr")

Attributes = tuple[tuple[str, bytes], ...]


def entry_of(
    member: bytes, status: os.stat_result, kind: Kind, *, size: int = 0, sha: str | None = None,
    xattrs: Attributes = (), problem: Problem | None = None,
) -> Entry:  # fmt: skip
    """Return the entry of a path, from its status."""
    seconds, ns = divmod(status.st_mtime_ns, _BILLION)
    return Entry(
        path=member, kind=kind, mode=S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid,
        user=user_of(status.st_uid), group=group_of(status.st_gid), mtime=seconds, ns=ns, size=size,
        sha256=sha, xattrs=xattrs, problem=problem,
    )  # fmt: skip


def attributes_of(place: str | int) -> Attributes:
    """Return the extended attributes of a path or an open file, sorted by name."""
    if not _HAS_ATTRIBUTES:
        return ()
    try:
        names = os.listxattr(place)
    except OSError:  # the file system has none
        return ()
    if not names:
        return ()
    found = []
    for name in sorted(names):
        with suppress(OSError):  # removed since, or not for us to read
            found.append((name, os.getxattr(place, name)))
    return tuple(found)


@lru_cache(maxsize=1024)
def user_of(number: int) -> str:
    """Return the name of a user; empty where the number has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def group_of(number: int) -> str:
    """Return the name of a group; empty where the number has none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""
