"""What goes into a bundle: sets of paths and patterns, and what they lead to on this machine."""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alexandria_backup.bundle.entry import sort_key
from alexandria_backup.bundle.exclusions import MAGIC
from alexandria_backup.bundle.manifest import SetContents
from alexandria_backup.errors import PrecheckRefused, SettingsInvalid


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
    if MAGIC.search(spec):
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
