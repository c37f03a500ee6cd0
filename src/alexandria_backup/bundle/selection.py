"""What goes into a bundle: sets of paths and patterns, and what is left out of them and why."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import pairwise
from pathlib import Path
from typing import Final

from alexandria_backup.bundle.entry import sort_key
from alexandria_backup.bundle.manifest import SetContents
from alexandria_backup.errors import PrecheckRefused, SettingsInvalid

_MAGIC: Final = re.compile(r"[*?\[]")
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

    def has_inode(self, status: os.stat_result) -> bool:
        """Tell whether an open file is left out, whatever its name."""
        return (status.st_dev, status.st_ino) in self._inodes

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
        self._endings = tuple(p[1:] for p, _ in pairs if p[:1] == "*" and not _MAGIC.search(p[1:]))
        others = [p for p, _ in pairs if p[:1] != "*" or _MAGIC.search(p[1:])]
        self._other = re.compile("|".join(translate(p) for p in others)).match if others else None
        #: What each begins with, up to what stands for anything.
        self._starts = tuple(_MAGIC.split(p, maxsplit=1)[0] for p, _ in pairs)

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


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A set, and what its paths led to on this machine."""

    name: str
    contents: SetContents
    #: Roots that cannot be one of a bundle, with the reason.
    refused: tuple[tuple[str, str], ...] = ()


def select(sets: Mapping[str, Sequence[str]], required: Sequence[str]) -> tuple[Selected, ...]:
    """Return what each set leads to, in the order of their names.

    PrecheckRefused where something that is required is not there, or nothing at all is;
    SettingsInvalid where a path belongs to two sets, or is no absolute path below `/`.
    """
    found = tuple(_selected(name, sets[name]) for name in sorted(sets))
    missing = [path for one in found for path in one.contents.missing if path in required]
    if missing:
        raise PrecheckRefused(
            f"`{missing[0]}` is required in a bundle and is not there",
            hint="set `bundle.required` to what this machine must have",
        )
    if not any(one.contents.roots for one in found):
        raise PrecheckRefused(
            "nothing of what a bundle should hold is on this machine",
            hint="set `bundle.sets` to where configuration, tools and knowledge lie",
        )
    _refuse_overlap(found)
    return found


def any_of(paths: Sequence[str]) -> bool:
    """Tell whether one of these paths and patterns leads to something."""
    return any(True for path in paths for _ in _led_to(path))


def _selected(name: str, paths: Sequence[str]) -> Selected:
    roots: set[str] = set()
    missing: list[str] = []
    refused: list[tuple[str, str]] = []
    for spec in paths:
        led_to = list(_led_to(spec))
        if not led_to:
            missing.append(spec)
        for root in led_to:
            try:
                root.encode()
            except UnicodeEncodeError:
                why = "its name is not UTF-8, which the head of a set must be"
                refused.append((os.fsencode(root).decode(errors="backslashreplace"), why))
            else:
                roots.add(root)
    ordered = sorted(roots, key=lambda root: sort_key(root.encode()))
    outer = [r for r in ordered if not any(r.startswith(f"{o}/") for o in roots)]
    contents = SetContents(paths=tuple(paths), roots=tuple(outer), missing=tuple(missing))
    return Selected(name=name, contents=contents, refused=tuple(refused))


def _led_to(spec: str) -> Iterator[str]:
    path = os.path.normpath(spec)
    if not spec.startswith("/") or path == "/":
        raise SettingsInvalid(
            f"`{spec}` in `bundle.sets` is not an absolute path below `/`",
            hint="write the whole path, such as `/etc/alexandria`",
        )
    if _MAGIC.search(spec):
        yield from glob.iglob(path)  # noqa: PTH207 - the pattern is absolute
    elif os.path.lexists(path):
        yield path


def _refuse_overlap(sets: Sequence[Selected]) -> None:
    owners = sorted((f"{root}/", one.name) for one in sets for root in one.contents.roots)
    for (outer, one), (inner, other) in pairwise(owners):
        if inner.startswith(outer) and one != other:
            raise SettingsInvalid(
                f"`{inner.rstrip('/')}` belongs to two sets of the bundle, `{one}` and `{other}`",
                hint="let each path be in one set of `bundle.sets`",
            )


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
