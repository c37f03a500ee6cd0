"""Entries of what lies on this machine now, to be compared with those of a bundle."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from alexandria_backup.bundle.capture import Capture
from alexandria_backup.bundle.entry import Entry
from alexandria_backup.bundle.exclusions import Excluder, Exclusions
from alexandria_backup.bundle.found import Found, LeftOut
from alexandria_backup.bundle.manifest import BundleManifest, SetContents
from alexandria_backup.bundle.staging import Staging
from alexandria_backup.bundle.walk import Walk


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A root of a bundle and where it lies now."""

    set_name: str
    #: As in the bundle: an absolute path.
    root: str
    where: Path

    @property
    def member(self) -> bytes:
        """The root's path in the bundle."""
        return (self.set_name + self.root).encode()


def live_entries(
    placed: Iterable[Placed],
    *,
    exclusions: Exclusions,
    staging: Path | None,
    sparse: frozenset[bytes],
    copies: bool,
) -> Iterator[Entry]:
    """Give an entry for each path as a bundle made now would have it.

    With `copies`, databases in use are read as for a bundle; without, every file is read as it
    lies there. `sparse` are the members whose digest is to be that of a file with holes. What
    cannot be read is left out.
    """
    excluder = Excluder(exclusions)
    with Staging(staging) as stage:
        capture = Capture(stage, excluder, (), sparse=sparse, copies=copies)
        before = None
        for one in placed:
            if one.set_name != before:
                capture.begin_set()
                before = one.set_name
            contents = SetContents(paths=(), roots=(str(one.where),))
            here = one.set_name.encode() + os.fsencode(one.where)
            for item in Walk(one.set_name, contents, excluder):
                if isinstance(item, LeftOut):
                    continue
                member = one.member + item.member[len(here) :]
                entry = _read(capture, replace(item, member=member))
                if entry is not None:
                    yield entry


def sparse_members(manifest: BundleManifest) -> frozenset[bytes]:
    """Return the members that are stored with holes."""
    return frozenset(entry.path for entry in manifest.entries() if entry.extents is not None)


def of_sets(manifest: BundleManifest, sets: Iterable[str]) -> Iterator[Entry]:
    """Give the entries of some sets."""
    chosen = frozenset(sets)
    return (entry for entry in manifest.entries() if entry.set_name in chosen)


def _read(capture: Capture, item: Found) -> Entry | None:
    pieces = capture.read(item)
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            return stop.value if isinstance(stop.value, Entry) else None
