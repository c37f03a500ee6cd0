"""A bundle whose manifest is read once, however often its members are."""

from collections.abc import Callable

from alexandria_backup.bundle.manifest import BundleManifest
from alexandria_backup.bundle.reader import (
    BundleRead,
    Visit,
    manifest_from_end,
    read_bundle,
    skip,
)
from alexandria_backup.bundle.source import BundleSource
from alexandria_backup.errors import BundleDamaged
from alexandria_backup.events import Emit, discard


class OpenedBundle:
    """A bundle that several steps work with; nothing is opened before it is needed."""

    def __init__(self, open_source: Callable[[], BundleSource]) -> None:
        self._open = open_source
        self._manifest: BundleManifest | None = None

    def read(self, visit: Visit = skip, *, emit: Emit = discard) -> BundleRead:
        """Read it to its end, as `read_bundle` does."""
        limit = self._manifest.tail.raw_bytes if self._manifest else None
        found = read_bundle(self._open(), visit, limit=limit, emit=emit)
        self._manifest = found.manifest
        return found

    def manifest(self) -> BundleManifest:
        """Return the manifest: from the end of a file where that can be, else from a whole read."""
        if self._manifest is None:
            source = self._open()
            self._manifest = (
                manifest_from_end(source) if source.seekable else read_bundle(source).manifest
            )
        return self._manifest

    def manifest_of(self, sha256: str) -> BundleManifest:
        """Return the manifest, which must be the one of this digest; BundleDamaged otherwise."""
        manifest = self.manifest()
        if manifest.sha256 != sha256:
            raise BundleDamaged(f"`{self._open().shown}` is not the bundle that it was before")
        return manifest
