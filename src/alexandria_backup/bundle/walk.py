"""Every path of a set, in the order of members; what is left out, with the reason."""

import os
import stat
from collections.abc import Iterator
from typing import Final, TypeAlias

from alexandria_backup.bundle.entry import shown
from alexandria_backup.bundle.exclusions import Excluder
from alexandria_backup.bundle.found import Files, Found, LeftOut, unreadable
from alexandria_backup.bundle.manifest import SetContents

_LEFT_OUT: Final = {
    stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device",
}  # fmt: skip
_NOWHERE: Final = (0, 0)
#: So many files are read before what was read is packed.
_MOST_FILES: Final = 256


class Walk:
    """The paths of one set; iterate once."""

    def __init__(self, name: str, contents: SetContents, excluder: Excluder) -> None:
        self._name = name.encode()
        self._roots = contents.roots
        self._excluder = excluder
        #: Names of one folder that differ in upper and lower case alone.
        self.twins: list[str] = []

    def __iter__(self) -> Iterator[Found | LeftOut]:
        """Give every path by itself."""
        for item in self.batches():
            if isinstance(item, Files):
                yield from (self.file(item, name) for name in item.names)
            else:
                yield item

    def batches(self) -> Iterator[Found | LeftOut | Files]:
        """Give every path, and files that follow each other in one folder together."""
        # A stack and no recursion: a path may be two thousand folders deep.
        roots = [(root, os.path.basename(root)) for root in self._roots]  # noqa: PTH119
        waiting: list[Iterator[_Next]] = [iter(roots)]
        while waiting:
            following = next(waiting[-1], None)
            if following is None:
                waiting.pop()
            elif isinstance(following, Files):
                yield following
            else:
                item, below = self._look(*following)
                yield item
                waiting.append(iter(below))

    def file(self, files: Files, name: str) -> Found | LeftOut:
        """Look at one of several files."""
        path = f"{files.path}/{name}"
        item, _ = self._look(path, name)
        if isinstance(item, Found) and stat.S_ISDIR(item.status.st_mode):
            return LeftOut(path=path, why="became a folder while it was looked at", problem=True)
        return item

    def _look(self, path: str, name: str) -> tuple[Found | LeftOut, list["_Next"]]:
        """Return what a path is, and what is in it where it is a folder."""
        try:
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            folder = kind == stat.S_IFDIR
            inode = (status.st_dev, status.st_ino)
            why = self._excluder.why(path, name, inode, folder=folder) or _LEFT_OUT.get(kind)
            if why is not None:
                return LeftOut(path=path, why=why), []
            member = self._name + os.fsencode(path)
            below = self._listed(path, member, inode) if folder else []
        except OSError as exc:
            # What would be left out anyway may come and go, as journals of databases do.
            why = self._excluder.why(path, name, _NOWHERE, folder=False)
            return LeftOut(path=path, why=why) if why else unreadable(path, exc), []
        return Found(path=path, member=member, status=status), below

    def _listed(self, path: str, member: bytes, folder: tuple[int, int]) -> list["_Next"]:
        """Return what is in a folder, in the order of members."""
        with os.scandir(path) as listing:
            is_file = {entry.name: entry.is_file(follow_symlinks=False) for entry in listing}
        # Code points sort as their UTF-8 does; only what is not UTF-8 need be encoded for it.
        key = None if "/".join(is_file).isascii() else os.fsencode
        names = sorted(is_file, key=key)
        self._note_twins(path, names)
        one_by_one = self._excluder.may_fit_in(path)
        below: list[_Next] = []
        run: list[str] = []
        for name in names:
            plain = is_file[name] and not one_by_one and not self._excluder.fits_name(name)
            if plain:
                run.append(name)
            if run and (not plain or len(run) == _MOST_FILES):
                below.append(Files(path=path, member=member, folder=folder, names=tuple(run)))
                run = []
            if not plain:
                below.append((f"{path}/{name}", name))
        if run:
            below.append(Files(path=path, member=member, folder=folder, names=tuple(run)))
        return below

    def _note_twins(self, path: str, names: list[str]) -> None:
        if len(set("/".join(names).casefold().split("/"))) >= len(names):
            return
        seen: set[str] = set()
        for name in names:
            if name.casefold() in seen:
                self.twins.append(shown(os.fsencode(f"{path}/{name}")))
            seen.add(name.casefold())


#: What comes next of a folder: several files, or the path and the name of something else.
_Next: TypeAlias = Files | tuple[str, str]
