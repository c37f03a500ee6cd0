"""Giving paths on a disk what a bundle says of them besides their content, as far as that goes.

Only root gives files to others, and file systems as FAT and exFAT keep neither owners nor
permissions: what could not be given is told, and then not asked for when all is proved.
"""

import errno
import grp
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from stat import S_IMODE
from typing import Final, TypeAlias

from alexandria_backup.bundle.entry import Entry

#: What is told where something is not given.
OWNERS: Final = "owners were not given back: only root can"
NO_OWNERS: Final = "owners could not be given back: the file system keeps none"
NO_MODES: Final = "permissions could not be given back: the file system keeps none"
NO_ATTRIBUTES: Final = "extended attributes could not be given back"

_SET_ID: Final = 0o6000
_NOT_KEPT: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP}
_GiveOwner: TypeAlias = Callable[[int, int], None]


class Dresser:
    """Gives and remembers what could not be given."""

    def __init__(self) -> None:
        #: Sentences, each with how often.
        self.warnings: dict[str, int] = {}

    def dress(self, entry: Entry, descriptor: int) -> None:
        """Give owner, attributes, mode and time, in the order in which each leaves the others."""
        mode = entry.mode
        if not self._give_owner(entry, lambda u, g: os.fchown(descriptor, u, g)):
            mode &= ~_SET_ID
        # Some file systems take what they do not keep without a word.
        elif _owner_of(descriptor) != owner_here(entry):
            self._warn(NO_OWNERS)
            mode &= ~_SET_ID
        for key, value in entry.xattrs:
            try:
                os.setxattr(descriptor, key, value)
            except OSError:
                self._warn(NO_ATTRIBUTES)
        with _where_kept():
            os.fchmod(descriptor, mode)
        if S_IMODE(os.fstat(descriptor).st_mode) != mode:
            self._warn(NO_MODES)
        os.utime(descriptor, ns=_times(entry))

    def dress_link(self, entry: Entry, parent: int, name: bytes) -> None:
        """Give the same to a symbolic link of an open folder; links have no mode of their own."""
        self._give_owner(
            entry, lambda u, g: os.chown(name, u, g, dir_fd=parent, follow_symlinks=False)
        )
        with suppress(OSError, NotImplementedError):
            os.utime(name, ns=_times(entry), dir_fd=parent, follow_symlinks=False)

    def _give_owner(self, entry: Entry, give: _GiveOwner) -> bool:
        """Give a path to its owner; False where only root could."""
        user, group = owner_here(entry)
        if os.geteuid() == 0:
            with _where_kept():
                give(user, group)
            return True
        if (user, group) == (os.geteuid(), os.getegid()):
            return True
        self._warn(OWNERS)
        return False

    def _warn(self, sentence: str) -> None:
        self.warnings[sentence] = self.warnings.get(sentence, 0) + 1


def owner_here(entry: Entry) -> tuple[int, int]:
    """Return the numbers that an entry's owner has on this machine: by name, if it is known."""
    return _user_number(entry.user, entry.uid), _group_number(entry.group, entry.gid)


@contextmanager
def _where_kept() -> Iterator[None]:
    """Let a file system say that it does not keep what it is given."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _NOT_KEPT:
            raise


def _owner_of(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_uid, status.st_gid


def _times(entry: Entry) -> tuple[int, int]:
    moment = entry.mtime * 1_000_000_000 + entry.ns
    return moment, moment


@lru_cache(maxsize=1024)
def _user_number(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else number
    except (KeyError, ValueError):
        return number


@lru_cache(maxsize=1024)
def _group_number(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else number
    except (KeyError, ValueError):
        return number
