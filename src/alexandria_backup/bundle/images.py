"""The version of an application that runs from a container image: the image's own tag."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from alexandria_backup.bundle.selection import Selected

_IMAGE: Final = re.compile(r"^\s*Image\s*=\s*(\S+)\s*$", re.MULTILINE)
_MOST: Final = 64 * 1024


def images(sets: Iterable[Selected]) -> tuple[str, ...]:
    """Return the images that Quadlet's `.container` units among the roots name, sorted."""
    found: set[str] = set()
    for one in sets:
        for root in one.contents.roots:
            if root.endswith(".container"):
                found.update(_IMAGE.findall(_text(Path(root))))
    return tuple(sorted(found))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode(errors="replace")
    except OSError:  # the bundle itself will tell
        return ""
