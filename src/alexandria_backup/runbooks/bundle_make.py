"""Making what is in a bundle, beside what is there, and proving it from the disk."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

from alexandria_backup.bundle.differences import differences
from alexandria_backup.bundle.dressing import (
    NO_ATTRIBUTES,
    NO_MODES,
    NO_OWNERS,
    OWNERS,
    owner_here,
)
from alexandria_backup.bundle.entry import Entry
from alexandria_backup.bundle.exclusions import Exclusions
from alexandria_backup.bundle.extract import Extractor
from alexandria_backup.bundle.live import Placed, live_entries, of_sets, sparse_members
from alexandria_backup.errors import ProofFailed, StorageError
from alexandria_backup.events import Warned
from alexandria_backup.runbooks.bundle_restore_parts import BundleRestoreParts, refuse_differences
from alexandria_backup.runbooks.bundle_state import BundleRestoreState, Root
from alexandria_backup.runbooks.bundle_swap import identity
from alexandria_backup.runbooks.step import Done, Explanation, shell


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
            "not_given": warnings,
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
    ) -> tuple[int, tuple[str, ...]]:
        bundle = self.parts.bundle
        manifest = bundle.manifest_of(state.sha256)
        with Extractor(places, of_sets(manifest, state.sets)) as extractor:
            found = bundle.read(extractor.take, emit=self.parts.emit)
            extractor.finish()
        refuse_differences(found, state.request.source)
        bundle.manifest_of(state.sha256)
        return extractor.made, extractor.warnings


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


def _with_identity(root: Root) -> Root:
    return root.model_copy(update={"identity": identity(root.incoming or "")})


def _as_given(entry: Entry, state: BundleRestoreState) -> Entry:
    """Return an entry without what could not be given back, and its owner as on this machine."""
    user, group = owner_here(entry)
    owned = not {OWNERS, NO_OWNERS} & set(state.not_given)
    mode = 0 if NO_MODES in state.not_given else entry.mode
    return replace(
        entry,
        uid=user if owned else 0,
        gid=group if owned else 0,
        user="",
        group="",
        mode=mode if owned else mode & ~0o6000,
        xattrs=() if NO_ATTRIBUTES in state.not_given else entry.xattrs,
    )


def _member(root: Root) -> bytes:
    return (root.set_name + root.root).encode()
