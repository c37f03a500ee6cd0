"""Restore of a bundle: beside what is there, proved, then exchanged by renames; the old is kept.

The bundle is read to its end before anything is made, and what was made is read back from the disk
and compared before anything is exchanged. The application is down for the renames alone.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

from alexandria_backup.bundle.differences import differences
from alexandria_backup.bundle.entry import Entry
from alexandria_backup.bundle.extract import Extractor, owner_here
from alexandria_backup.bundle.live import Placed, live_entries, of_sets, sparse_members
from alexandria_backup.bundle.manifest import Manifest
from alexandria_backup.bundle.opened import OpenedBundle
from alexandria_backup.bundle.reader import BundleRead
from alexandria_backup.bundle.selection import Exclusions
from alexandria_backup.errors import (
    BundleDamaged,
    PrecheckRefused,
    ProofFailed,
    RightsMissing,
    SpaceMissing,
    StorageError,
    UsageError,
)
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.runbooks.bundle_state import BundleRestoreRequest, BundleRestoreState, Root
from alexandria_backup.runbooks.bundle_swap import (
    StartNode,
    StopNode,
    SwapRoots,
    beside,
    identity,
)
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, shell
from alexandria_backup.runbooks.switch_application import Application
from alexandria_backup.sealing.signing import TrustedKey

NAME = "backup-restore"
_MARGIN = 16 << 20
_OWNERS = "owners were not given back: only root can"
_ATTRIBUTES = "extended attributes could not be given back"


@dataclass(frozen=True, kw_only=True)
class BundleRestoreParts:
    """What the steps of a restore work with."""

    bundle: OpenedBundle
    trusted: tuple[TrustedKey, ...]
    application: Callable[[], Application]
    emit: Emit


def bundle_restore_runbook(
    parts: BundleRestoreParts, request: BundleRestoreRequest
) -> Runbook[BundleRestoreState]:
    """Return the steps of a restore; the application has a part in it where `/` is the target."""
    read = (FindBundle(parts=parts), CheckTarget(parts=parts))
    make = (ExtractRoots(parts=parts), ProveRoots(parts=parts))
    swap: SwapRoots[BundleRestoreState] = SwapRoots()
    if not is_live(request.to):
        return _runbook((*read, *make, swap))
    application = parts.application()
    stop: StopNode[BundleRestoreState] = StopNode(application=application, emit=parts.emit)
    start: StartNode[BundleRestoreState] = StartNode(application=application, emit=parts.emit)
    return _runbook((*read, *make, stop, swap, start))


def is_live(to: str) -> bool:
    """Tell whether a restore goes to the machine's own place."""
    return os.path.normpath(to) == "/"


def _runbook(steps: tuple["_Step", ...]) -> Runbook[BundleRestoreState]:
    return Runbook(
        name=NAME, steps=steps, state_type=BundleRestoreState, commit="swap", replaces_live=True
    )


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
            "bytes": sum(entry.size for entry in of_sets(manifest, sets) if not entry.extents),
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
        if state.live:
            self.parts.application().platform.check()
        return Done(state, f"{len(state.roots)} paths can be exchanged")


@dataclass(frozen=True, kw_only=True)
class ExtractRoots:
    """Make each path anew, beside the one that is there."""

    name: ClassVar[str] = "extract"
    changes: ClassVar[bool] = True

    parts: BundleRestoreParts

    def explain(self, state: BundleRestoreState) -> Explanation:
        """Name the new paths."""
        return Explanation(
            sentence=f"extract {state.entries:,} paths beside those that are there",
            commands=(shell("tar", "--extract", f"--file={state.request.source}"),),
        )

    def do(self, state: BundleRestoreState) -> Done[BundleRestoreState]:
        """Extract, after taking away what an earlier attempt has left."""
        self.undo(state)
        places = {_member(root): Path(root.incoming or "") for root in state.roots}
        for place in places.values():
            place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        found, warnings = self._extract(state, places)
        roots = tuple(_with_identity(root) for root in state.roots)
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        update = {
            "roots": roots,
            "not_given": tuple(warnings),
            "warnings": (*state.warnings, *warnings),
        }
        os.sync()
        return Done(state.model_copy(update=update), f"{found:,} paths")

    def undo(self, state: BundleRestoreState) -> BundleRestoreState:
        """Remove what was extracted; what was exchanged meanwhile is not there any more."""
        for root in state.roots:
            if root.incoming is not None:
                remove(root.incoming)
        return state

    def _extract(
        self, state: BundleRestoreState, places: Mapping[bytes, Path]
    ) -> tuple[int, list[str]]:
        bundle = self.parts.bundle
        manifest = bundle.manifest_of(state.sha256)
        with Extractor(places, of_sets(manifest, state.sets)) as extractor:
            found = bundle.read(extractor.take, emit=self.parts.emit)
            extractor.finish()
        refuse_differences(found, state.request.source)
        bundle.manifest_of(state.sha256)
        return extractor.made, list(extractor.warnings)


@dataclass(frozen=True, kw_only=True)
class ProveRoots:
    """Read back from the disk what was extracted, and compare it with the manifest."""

    name: ClassVar[str] = "prove"
    changes: ClassVar[bool] = True

    parts: BundleRestoreParts

    def explain(self, state: BundleRestoreState) -> Explanation:
        """Say what is compared."""
        return Explanation(
            sentence=f"compare the {state.entries:,} new paths with the manifest, byte by byte",
            commands=(shell("sha256sum", "--check", "MANIFEST.json"),),
        )

    def do(self, state: BundleRestoreState) -> Done[BundleRestoreState]:
        """Raise ProofFailed for the first path that is not what the manifest says."""
        manifest = self.parts.bundle.manifest_of(state.sha256)
        placed = [
            Placed(set_name=root.set_name, root=root.root, where=Path(root.incoming or ""))
            for root in state.roots
        ]
        told = (_as_given(entry, state) for entry in of_sets(manifest, state.sets))
        made = live_entries(
            placed,
            exclusions=Exclusions(patterns={}),
            staging=None,
            sparse=sparse_members(manifest),
            copies=False,
        )
        here = (_as_given(entry, state) for entry in made)
        found = list(islice(differences(told, here), 3))
        if found:
            raise ProofFailed(
                f"what was extracted is not what the bundle says: {found[0]}",
                hint="check the disk, then restore again",
            )
        return Done(state, f"{state.entries:,} paths as in the manifest")

    def undo(self, state: BundleRestoreState) -> BundleRestoreState:
        """Nothing was changed."""
        return state


_Step = (
    FindBundle
    | CheckTarget
    | ExtractRoots
    | ProveRoots
    | StopNode[BundleRestoreState]
    | SwapRoots[BundleRestoreState]
    | StartNode[BundleRestoreState]
)


def refuse_differences(found: BundleRead, where: str) -> None:
    """Raise BundleDamaged where members are not what the manifest says."""
    if found.differences:
        raise BundleDamaged(
            f"{len(found.differences):,} members of `{where}` are not what its manifest says, "
            f"such as: {found.differences[0]}",
            hint=shell("alexandria", "backup", "verify", where),
        )


def remove(path: str) -> None:
    """Remove a path and all that is in it; nothing happens where it is not there."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - text
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)
    except OSError as exc:
        said = (exc.strerror or "input/output error").lower()
        raise StorageError(f"`{exc.filename or path}` could not be removed: {said}") from exc


def _chosen(manifest: Manifest, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    there = tuple(name for name, contents in manifest.head.sets.items() if contents.roots)
    if wanted is None:
        return there
    for name in wanted:
        if name not in there:
            listed = ", ".join(f"`{one}`" for one in there)
            raise UsageError(f"the bundle has no set `{name}`, only {listed}")
    return tuple(sorted(set(wanted)))


def _roots(manifest: Manifest, sets: tuple[str, ...], state: BundleRestoreState) -> Iterator[Root]:
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
    there = target.parent
    while not there.exists():
        there = there.parent
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


def _with_identity(root: Root) -> Root:
    return root.model_copy(update={"identity": identity(root.incoming or "")})


def _as_given(entry: Entry, state: BundleRestoreState) -> Entry:
    """Return an entry without what could not be given back, and its owner as on this machine."""
    user, group = owner_here(entry)
    owned = _OWNERS not in state.not_given
    return replace(
        entry,
        uid=user if owned else 0,
        gid=group if owned else 0,
        user="",
        group="",
        mode=entry.mode if owned else entry.mode & ~0o6000,
        xattrs=() if _ATTRIBUTES in state.not_given else entry.xattrs,
    )


def _member(root: Root) -> bytes:
    return (root.set_name + root.root).encode()
