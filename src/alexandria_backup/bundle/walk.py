"""Every path of a set, in the order of members; what is left out, with the reason."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from alexandria_backup.bundle.entry import shown
from alexandria_backup.bundle.manifest import SetContents
from alexandria_backup.bundle.selection import Excluder

_LEFT_OUT: Final = {
    stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device",
}  # fmt: skip
_NOWHERE: Final = (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A path that goes in: a file, a folder or a symbolic link."""

    #: On the machine; what is not UTF-8 is escaped as `os.fsdecode` does.
    path: str
    #: In the bundle.
    member: bytes
    status: os.stat_result


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A path that does not."""

    path: str
    why: str
    #: It was asked for, and could not be read: the operator must look at it.
    problem: bool = False


class Walk:
    """The paths of one set; iterate once."""

    def __init__(self, name: str, contents: SetContents, excluder: Excluder) -> None:
        self._name = name.encode()
        self._roots = contents.roots
        self._excluder = excluder
        #: Names of one folder that differ in upper and lower case alone.
        self.twins: list[str] = []

    def __iter__(self) -> Iterator[Found | LeftOut]:
        # A stack and no recursion: a path may be two thousand folders deep.
        waiting = [iter([(root, os.path.basename(root)) for root in self._roots])]  # noqa: PTH119
        while waiting:
            following = next(waiting[-1], None)
            if following is None:
                waiting.pop()
                continue
            path, name = following
            item, below = self._look(path, name)
            yield item
            if below:
                waiting.append(iter([(f"{path}/{inner}", inner) for inner in below]))

    def _look(self, path: str, name: str) -> tuple[Found | LeftOut, list[str]]:
        """Return what a path is, and the names in it where it is a folder."""
        try:
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            folder = kind == stat.S_IFDIR
            inode = (status.st_dev, status.st_ino)
            why = self._excluder.why(path, name, inode, folder=folder) or _LEFT_OUT.get(kind)
            if why is not None:
                return LeftOut(path=path, why=why), []
            names = sorted(os.listdir(path), key=os.fsencode) if folder else []  # noqa: PTH208
        except OSError as exc:
            # What would be left out anyway may come and go, as journals of databases do.
            why = self._excluder.why(path, name, _NOWHERE, folder=False)
            return LeftOut(path=path, why=why) if why else unreadable(path, exc), []
        self._note_twins(path, names)
        return Found(path=path, member=self._name + os.fsencode(path), status=status), names

    def _note_twins(self, path: str, names: list[str]) -> None:
        if len({name.casefold() for name in names}) == len(names):
            return
        seen: set[str] = set()
        for name in names:
            if name.casefold() in seen:
                self.twins.append(shown(os.fsencode(f"{path}/{name}")))
            seen.add(name.casefold())


def unreadable(path: str, error: OSError) -> LeftOut:
    """Return what is told of a path that could not be read."""
    if isinstance(error, FileNotFoundError):
        return LeftOut(path=path, why="vanished before it was read", problem=True)
    reason = (error.strerror or "input/output error").lower()
    return LeftOut(path=path, why=f"could not be read: {reason}", problem=True)
