"""What is left out of a bundle, whichever set it lies in, and why."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Final

#: What makes a path a pattern.
MAGIC: Final = re.compile(r"[*?\[]")
#: What is said of the tool's own private keys.
OWN_KEY: Final = "a private key of this program"


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """What is left out, whichever set it lies in."""

    #: Patterns, each with what is said of a path that it fits. One without a slash is compared with
    #: the name, one with a slash with the whole path; one that ends in a slash fits folders alone.
    patterns: Mapping[str, str]
    #: Files and folders by device and inode, so that another name does not let them in.
    inodes: Mapping[tuple[int, int], str] = field(default_factory=dict)
    #: Contents that no file may have: copies of private keys.
    contents: frozenset[bytes] = frozenset()


class Excluder:
    """Says of a path why it is left out; built once, asked for every path."""

    def __init__(self, exclusions: Exclusions) -> None:
        self._inodes = exclusions.inodes
        self._contents = exclusions.contents
        self._sizes = frozenset(len(content) for content in exclusions.contents)
        patterns = exclusions.patterns.items()
        self._names = _Patterns((p, why) for p, why in patterns if "/" not in p)
        self._paths = _Patterns((p, why) for p, why in patterns if "/" in p.rstrip("/"))
        self._folders = _Patterns(
            (p.rstrip("/"), why) for p, why in patterns if p.endswith("/") and "/" not in p[:-1]
        )

    def why(self, path: str, name: str, inode: tuple[int, int], *, folder: bool) -> str | None:
        """Return why a path is left out, or None."""
        found = self._names.match(name)
        if found is None and folder:
            found = self._folders.match(name) or self._paths.match(path + "/")
        if found is None and self._paths.any:
            found = self._paths.match(path)
        return found or self._inodes.get(inode)

    def may_fit_in(self, folder: str) -> bool:
        """Tell whether a pattern with a slash could fit a file of this folder."""
        return self._paths.any and self._paths.may_begin(f"{folder}/")

    def fits_name(self, name: str) -> bool:
        """Tell whether a pattern without a slash fits a file of this name."""
        return self._names.fits(name)

    def leaves_out(self, status: os.stat_result, content: bytes) -> bool:
        """Tell whether an open file is left out, whatever its name."""
        return (len(content) in self._sizes and content in self._contents) or (
            bool(self._inodes) and (status.st_dev, status.st_ino) in self._inodes
        )

    def why_content(self, content: bytes) -> str | None:
        """Return why a file of this content is left out, or None."""
        if len(content) in self._sizes and content in self._contents:
            return OWN_KEY
        return None


class _Patterns:
    """Several patterns as one expression."""

    def __init__(self, patterns: Iterable[tuple[str, str]]) -> None:
        pairs = list(patterns)
        self._whys = [why for _, why in pairs]
        self.any = bool(pairs)
        self._match = re.compile("|".join(f"({translate(p)})" for p, _ in pairs)).match
        # Most patterns are `*.db-wal` and the like: one look at the end of a name for all of them.
        self._endings = tuple(p[1:] for p, _ in pairs if p[:1] == "*" and not MAGIC.search(p[1:]))
        others = [p for p, _ in pairs if p[:1] != "*" or MAGIC.search(p[1:])]
        self._other = re.compile("|".join(translate(p) for p in others)).match if others else None
        #: What each begins with, up to what stands for anything.
        self._starts = tuple(MAGIC.split(p, maxsplit=1)[0] for p, _ in pairs)

    def fits(self, text: str) -> bool:
        """Tell whether one fits; quicker than `match`, which says why."""
        return text.endswith(self._endings) or (
            self._other is not None and self._other(text) is not None
        )

    def may_begin(self, folder: str) -> bool:
        """Tell whether something in a folder could fit; it is given with a slash at its end."""
        return any(s.startswith(folder) or folder.startswith(s) for s in self._starts)

    def match(self, text: str) -> str | None:
        if not self.any:
            return None
        found = self._match(text)
        return self._whys[found.lastindex - 1] if found and found.lastindex else None


def inodes_of(paths: Iterable[Path], why: str) -> dict[tuple[int, int], str]:
    """Return what exclusions by inode need; a path that is not there cannot be bundled."""
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found[status.st_dev, status.st_ino] = why
    return found
