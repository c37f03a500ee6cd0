"""What a walk finds: paths that go in, files that follow each other, and what stays out."""

import os
from dataclasses import dataclass
from typing import Final

#: How a folder is opened, so that it is one and no link.
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """Files of one folder that follow each other, as its list of names says: not yet looked at."""

    #: The folder on the machine, and in the bundle.
    path: str
    member: bytes
    #: Device and inode of the folder: another one may lie there by now.
    folder: tuple[int, int]
    names: tuple[str, ...]


def room_taken(status: os.stat_result) -> int:
    """Return the bytes that a path takes, without holes."""
    return min(status.st_size, status.st_blocks * 512)


def unreadable(path: str, error: OSError) -> LeftOut:
    """Return what is told of a path that could not be read."""
    if isinstance(error, FileNotFoundError):
        return LeftOut(path=path, why="vanished before it was read", problem=True)
    reason = (error.strerror or "input/output error").lower()
    return LeftOut(path=path, why=f"could not be read: {reason}", problem=True)
