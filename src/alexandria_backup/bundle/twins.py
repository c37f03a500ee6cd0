"""Names that some file systems take for one: in upper and lower case, or in two forms of Unicode.

ext4 and APFS can be made so, vfat and exFAT always are. Of two such names the second would be
written over the first, or not at all.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unicodedata import normalize

from alexandria_backup.bundle.entry import Entry, shown

_PREFIX: Final = ".alexandria-probe-"
_PROBE: Final = "probe-\u00e9"


@dataclass(frozen=True, kw_only=True)
class Folding:
    """Which names a folder takes for one."""

    #: `a` and `A`.
    case: bool
    #: An accented letter, and the letter followed by its accent.
    forms: bool

    def fold(self, name: bytes) -> bytes:
        """Return what is the same for all names that are one; what is not UTF-8 is as it is."""
        try:
            text = name.decode()
        except UnicodeDecodeError:
            return name
        if self.forms:
            text = normalize("NFD", text)
        if self.case:
            text = text.casefold()
        return (normalize("NFD", text) if self.forms else text).encode()


def folding(folder: Path) -> Folding:
    """Return which names a folder takes for one; it is tried out in it, and nothing stays.

    Where nothing can be made in it, nothing is known, and no names count as one.
    """
    found = Folding(case=False, forms=False)
    with (
        suppress(OSError),
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as place,
    ):
        (Path(place) / _PROBE).touch()
        found = Folding(
            case=os.path.lexists(Path(place) / _PROBE.upper()),
            forms=os.path.lexists(Path(place) / normalize("NFD", _PROBE)),
        )
    return found


def twins(entries: Iterable[Entry], fold: Folding) -> Iterator[tuple[str, str]]:
    """Give each name that is one with another of its folder, after that one.

    Entries come as members do. No more is kept than the names beside each part of a path.
    """
    #: Each folder on the way to the present member: its path, and its names by their folded form.
    open_folders: list[tuple[bytes, dict[bytes, bytes]]] = [(b"", {})]
    for entry in entries:
        parent, _, name = entry.path.rpartition(b"/")
        while open_folders[-1][0] and not _within(parent, open_folders[-1][0]):
            open_folders.pop()
        if open_folders[-1][0] != parent:
            open_folders.append((parent, {}))
        names = open_folders[-1][1]
        first = names.setdefault(fold.fold(name), name)
        if first != name:
            yield shown(parent + b"/" + first), entry.shown


def _within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")
