"""Before a bundle is restored: read it in full, and see that all of it can be made."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

from alexandria_backup.bundle.headers import data_size
from alexandria_backup.bundle.live import of_sets
from alexandria_backup.bundle.manifest import BundleManifest
from alexandria_backup.bundle.twins import Folding, folding, twins
from alexandria_backup.errors import PrecheckRefused, RightsMissing, SpaceMissing, UsageError
from alexandria_backup.events import Note, Warned
from alexandria_backup.runbooks.bundle_restore_parts import (
    BundleRestoreParts,
    is_live,
    refuse_differences,
)
from alexandria_backup.runbooks.bundle_state import BundleRestoreState, Root
from alexandria_backup.runbooks.bundle_swap import beside, identity
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, shell

_MARGIN = 16 << 20
#: So many pairs of names are listed where names are refused.
_MOST_TWINS = 5


@dataclass(frozen=True, kw_only=True)
class FindBundle(ReadingStep):
    """Read the bundle to its last byte, before anything is made of it."""

    name: ClassVar[str] = "find"

    parts: BundleRestoreParts

    def explain(self, state: BundleRestoreState) -> Explanation:
        """Give the command that does the same."""
        return Explanation(
            sentence=f"read `{state.request.source}` in full and compare it with its manifest",
            commands=(shell("alexandria", "backup", "verify", state.request.source),),
        )

    def do(self, state: BundleRestoreState) -> Done[BundleRestoreState]:
        """Raise BundleDamaged or WrongKey where it is not what somebody trusted has made."""
        found = self.parts.bundle.read(emit=self.parts.emit)
        refuse_differences(found, state.request.source)
        manifest = found.manifest
        sets = _chosen(manifest, state.request.sets)
        update = {
            "bundle": manifest.head.bundle,
            "host": manifest.head.host,
            "created": manifest.head.created,
            "signers": manifest.signers(self.parts.trusted),
            "sets": sets,
            "sha256": manifest.sha256,
            "live": is_live(state.request.to),
            "entries": sum(1 for _ in of_sets(manifest, sets)),
            "bytes": sum(data_size(entry) for entry in of_sets(manifest, sets)),
            "roots": tuple(_roots(manifest, sets, state)),
        }
        if manifest.tail.twins:
            self.parts.emit(
                Note(message=f"names in upper and lower case: `{manifest.tail.twins[0]}` and more")
            )
        if manifest.head.redacted:
            message = "the bundle was made with `--redact`: what is secret is not in it"
            self.parts.emit(Warned(message=message))
            update["warnings"] = (*state.warnings, message)
        said = f"`{manifest.head.bundle}` of `{manifest.head.host}`, as its manifest says"
        return Done(state.model_copy(update=update), said)


@dataclass(frozen=True, kw_only=True)
class CheckTarget(ReadingStep):
    """Check that all of it can be made and exchanged."""

    name: ClassVar[str] = "check"

    parts: BundleRestoreParts

    def explain(self, state: BundleRestoreState) -> Explanation:
        """List what is checked."""
        return Explanation(
            sentence=f"check rights and room below `{state.request.to}`",
            commands=("df", "mount"),
        )

    def do(self, state: BundleRestoreState) -> Done[BundleRestoreState]:
        """Raise a child of PrecheckRefused for the first thing that forbids it."""
        if not Path(state.request.to).is_dir():
            raise PrecheckRefused(
                f"there is no folder `{state.request.to}` to restore into",
                hint=shell("mkdir", "-p", state.request.to),
            )
        for root in state.roots:
            _check_root(root, state.bytes)
        self._refuse_twins(state)
        if state.live:
            self.parts.application().platform.check()
        return Done(state, f"{len(state.roots)} paths can be exchanged")

    def _refuse_twins(self, state: BundleRestoreState) -> None:
        """Refuse a bundle with names that are one on the target's file system."""
        manifest = self.parts.bundle.manifest_of(state.sha256)
        strictest = Folding(case=True, forms=True)
        # Hardly any bundle has such names, and then nothing is tried out.
        if next(twins(of_sets(manifest, state.sets), strictest), None) is None:
            return
        for folder in sorted({_there(Path(root.target)) for root in state.roots}):
            found = list(islice(twins(of_sets(manifest, state.sets), folding(folder)), _MOST_TWINS))
            if found:
                listed = ", ".join(f"`{one}` and `{other}`" for one, other in found)
                raise PrecheckRefused(
                    f"names of the bundle are one on the file system of `{folder}`: {listed}",
                    hint="restore with `--to` on a file system that tells them apart",
                )


def _there(target: Path) -> Path:
    """Return the nearest folder above a path that is there already."""
    return next(one for one in target.parents if one.exists())


def _chosen(manifest: BundleManifest, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    there = tuple(name for name, contents in manifest.head.sets.items() if contents.roots)
    if wanted is None:
        return there
    for name in wanted:
        if name not in there:
            listed = ", ".join(f"`{one}`" for one in there)
            raise UsageError(f"the bundle has no set `{name}`, only {listed}")
    return tuple(sorted(set(wanted)))


def _roots(
    manifest: BundleManifest, sets: tuple[str, ...], state: BundleRestoreState
) -> Iterator[Root]:
    """Give the roots that are really there: one may have vanished while the bundle was made."""
    told = {(name, root) for name, root in manifest.head.roots if name in sets}
    members = {f"{name}{root}".encode(): (name, root) for name, root in told}
    for entry in of_sets(manifest, sets):
        if entry.path not in members:
            continue
        name, root = members[entry.path]
        target = Path(state.request.to) / root.lstrip("/")
        yield Root(
            set_name=name,
            root=root,
            target=str(target),
            incoming=str(beside(target, "new", state.run)),
            kept=str(beside(target, "kept", state.run)),
        )


def _check_root(root: Root, size: int) -> None:
    target = Path(root.target)
    if os.path.ismount(target):
        raise PrecheckRefused(
            f"`{target}` is a mount point and cannot be renamed",
            hint="restore with `--to` into another folder, and copy from there",
        )
    there = _there(target)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise RightsMissing(f"nothing can be made in `{there}`", hint="id   # who is asking")
    free = shutil.disk_usage(there).free
    if free < size + _MARGIN:
        raise SpaceMissing(
            f"`{there}` has {free:,} bytes free, and the bundle unpacks to {size:,}",
            hint="free space there, or restore one set at a time with `--set`",
        )
    if identity(root.kept) is not None:
        raise PrecheckRefused(f"`{root.kept}` is there already")
