"""What a bundle knows of one path, and the line of the manifest that says it.

A line is JSON in one canonical form: `entry_parsing.py` refuses every other spelling, so two
entries are equal exactly if their lines are. What a tar header cannot carry (nanoseconds, and what
went wrong while reading) comes last, so that what a stream of members tells
begins a line.
"""

import base64
import json
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

_quoted: Final = json.encoder.encode_basestring_ascii
#: What follows in a manifest's line what a member tells.
_BEYOND: Final = re.compile(rb'(, "ns": [1-9][0-9]{0,8})?(, "problem": "[a-z ]+")?\}')
#: Nanoseconds are fewer.
MOST_NS: Final = 1_000_000_000
#: What stands between two entries of a manifest.
BETWEEN: Final = ",\n"


class Kind(StrEnum):
    """What a path is; everything else (sockets, pipes, devices) is left out of bundles."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    #: Another name of a file that came before in the same set.
    HARDLINK = "hardlink"


class Problem(StrEnum):
    """What went wrong while a file was read; its entry then says what was stored instead."""

    CHANGED = "changed while it was read"
    GREW = "grew while it was read"
    SHRANK = "shrank while it was read"
    UNREADABLE = "could not be read to its end"
    NOT_CONSISTENT = "is no sound database and was copied as a file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One path of a bundle."""

    #: The set's name, a slash, and the path on the machine without its first slash.
    path: bytes
    kind: Kind
    #: Permissions, with the set-id and sticky bits.
    mode: int
    uid: int
    gid: int
    #: Empty where the number has no name.
    user: str
    group: str
    #: Seconds since 1970, rounded down.
    mtime: int
    #: Bytes that a program reads from the file; 0 for what is no file.
    size: int = 0
    #: Of the content, in hex; of a sparse file see `sparse.py`. None for what is no file.
    sha256: str | None = None
    #: Where a file has holes: its extents as (offset, bytes), without the holes. None: no holes.
    extents: tuple[tuple[int, int], ...] | None = None
    #: Where a link leads.
    link: bytes = b""
    #: Extended attributes, sorted by name.
    xattrs: tuple[tuple[str, bytes], ...] = ()
    #: Nanoseconds beyond `mtime`.
    ns: int = 0
    problem: Problem | None = None

    @property
    def set_name(self) -> str:
        """The set that the path belongs to."""
        return self.path.partition(b"/")[0].decode()

    @property
    def shown(self) -> str:
        """The path for a person: what is not UTF-8 is escaped, and so is what moves a cursor."""
        return shown(self.path)

    def line(self) -> bytes:
        """Return the entry's line, without a line feed."""
        owner = owned(self.mode, self.uid, self.gid, self.user, self.group)
        line = (
            f'{{{_text("path", self.path)}, "type": "{self.kind.value}", {owner}, '
            f'"mtime": {self.mtime}'
        )
        if self.kind is Kind.FILE:
            line += f', "size": {self.size}, "sha256": "{self.sha256}"'
        if self.extents is not None:
            line += f', "extents": {json.dumps(self.extents)}'
        if self.link:
            line += f", {_text('link', self.link)}"
        if self.xattrs:
            values = {name: base64.b64encode(value).decode() for name, value in self.xattrs}
            line += f', "xattrs": {json.dumps(values)}'
        if self.ns:
            line += f', "ns": {self.ns}'
        if self.problem:
            line += f', "problem": "{self.problem.value}"'
        return (line + "}").encode()

    def as_member(self) -> "Entry":
        """Return the entry without what a tar header cannot carry."""
        return replace(self, ns=0, problem=None)


class FileLines:
    """Lines of the files of one folder, for many small ones: `Entry.line` gives the same bytes."""

    def __init__(self, folder: bytes) -> None:
        """Begin with the folder's path in the bundle; UnicodeDecodeError where it is not UTF-8."""
        self._start = f'{{"path": {_quoted(folder.decode() + "/")[:-1]}'

    def line(self, name: str, owner: str, size: int, sha256: str, mtime_ns: int) -> str:
        """Return the line of a file, all of it ASCII; `owner` as `owned` gives it."""
        mtime, ns = divmod(mtime_ns, MOST_NS)
        beyond = f', "ns": {ns}}}' if ns else "}"
        return (
            f'{self._start}{_quoted(name)[1:]}, "type": "file", {owner}, '
            f'"mtime": {mtime}, "size": {size}, "sha256": "{sha256}"{beyond}'
        )


def owned(mode: int, uid: int, gid: int, user: str, group: str) -> str:
    """Return the part of a line that is the same for all files of one owner and mode."""
    return f'"mode": "{mode:04o}", {_owner(uid, gid, user, group)}'


def sort_key(path: bytes) -> bytes:
    """Return what members are ordered by: a folder comes before all that is in it."""
    return path.replace(b"/", b"\0")


def agrees(manifest_line: bytes, member_line: bytes) -> bool:
    """Tell whether a line of the manifest says the same as a member, and perhaps more."""
    told = member_line[:-1]
    return (
        manifest_line.startswith(told) and _BEYOND.fullmatch(manifest_line, len(told)) is not None
    )


def shown(path: bytes) -> str:
    """Return a path for a person: printable, whatever its bytes."""
    text = path.decode(errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@lru_cache(maxsize=1024)
def _owner(uid: int, gid: int, user: str, group: str) -> str:
    return f'"uid": {uid}, "gid": {gid}, "user": {json.dumps(user)}, "group": {json.dumps(group)}'


def _text(key: str, value: bytes) -> str:
    """Write a name as JSON; one that is not UTF-8 in base64, under a key of its own."""
    try:
        return f'"{key}": {_quoted(value.decode())}'
    except UnicodeDecodeError:
        return f'"{key}_base64": "{base64.b64encode(value).decode()}"'
