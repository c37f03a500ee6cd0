"""A folder or prefix of archives, each with its manifest beside it.

An archive without a manifest is listed and can be restored; nobody vouches for it. A manifest
without its archive, or one that cannot be read, is listed with what is wrong with it.
"""

import shlex
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime

from alexandria_backup.archive.foreign import DIRECTORY_CONTENTS, directory_format
from alexandria_backup.errors import (
    ManifestInvalid,
    SnapshotDamaged,
    SnapshotMissing,
    StorageError,
    StoreUnreachable,
    WrongKey,
)
from alexandria_backup.repository.entries import STORED, SnapshotEntry, in_order, missing, newest
from alexandria_backup.repository.manifest import LARGEST_BYTES, SignedManifest, decode
from alexandria_backup.repository.results import Examination
from alexandria_backup.sealing.signing import TrustedKey
from alexandria_backup.storage.store import ObjectInfo, ObjectStore, is_name

ARCHIVE_SUFFIX = ".pgdump"
MANIFEST_SUFFIX = ".manifest"


@dataclass(frozen=True, kw_only=True)
class FileSnapshots:
    """The snapshots of one folder or prefix."""

    store: ObjectStore
    #: Keys whose signatures count; where there are any, unsigned manifests are a problem.
    trusted: tuple[TrustedKey, ...] = ()

    def all(self) -> tuple[SnapshotEntry, ...]:
        """Return every snapshot, oldest first; what is wrong with one stands in its entry.

        Raises StorageError where the listing fails or the store cannot be reached.
        """
        found = {info.name: info for info in self.store.list(recursive=False)}
        names = {_archive_of(name, found) for name in found} - {None}
        entries = [self._entry(name, found) for name in names if name is not None]
        return in_order(entries)

    def find(self, name: str) -> SnapshotEntry:
        """Return the snapshot of this id or file name; raises SnapshotMissing, naming the nearest.

        A manifest's name stands for its archive's. A file of another name than `.pgdump` is looked
        for under its exact name. Raises ManifestInvalid or WrongKey for a manifest that is there
        and cannot be believed: that must not pass for having none, or whoever damages a manifest
        would be rid of its signature.
        """
        for archive in (f"{name}{ARCHIVE_SUFFIX}", name.removesuffix(MANIFEST_SUFFIX)):
            found = self._beside(archive)
            if found:
                self._refuse_bad_manifest(found.get(manifest_name(archive)))
                return self._entry(archive, found)
        try:
            self._refuse_folder(name)
            ids = [entry.id for entry in self.all()]
        except StorageError as error:
            # A place that cannot be listed has no nearest name to offer, and the reason matters.
            raise SnapshotMissing(
                f"there is no snapshot `{name}` in `{self.store.url}`: {error.message}",
                hint=error.hint,
            ) from error
        raise missing(
            name,
            self.store.url,
            ids,
            like=name.removesuffix(ARCHIVE_SUFFIX),
            # A file that is named as such may be in a place that no settings know.
            hint=shlex.join(("ls", self.store.url))
            if "." in name and "://" not in self.store.url
            else "alexandria snapshot list",
        )

    def latest(
        self, *, application: str, database: str, at: datetime | None = None
    ) -> SnapshotEntry:
        """Return the newest snapshot of this application and database, by the server's clock.

        Not younger than `at` where that is given. Never one of kind `safety`, and only one with a
        good manifest. Raises SnapshotMissing.
        """
        return newest(
            self.all(),
            url=self.store.url,
            application=application,
            database=database,
            at=at,
        )

    def _refuse_folder(self, name: str) -> None:
        if not is_name(f"{name}/{DIRECTORY_CONTENTS}"):
            return
        place = f"{self.store.url.rstrip('/')}/{name}"
        if self.store.head(f"{name}/{DIRECTORY_CONTENTS}") is not None:
            raise directory_format(place)
        if next(iter(self.store.list(f"{name}/")), None) is not None:
            raise SnapshotMissing(
                f"`{place}` is a folder and no snapshot",
                hint=f"alexandria snapshot list {shlex.quote(place)}   # then name one of them",
            )

    def _beside(self, archive: str) -> dict[str, ObjectInfo]:
        # What is typed may be no name at all, and one that fits may leave no room for an ending.
        names = [name for name in (archive, manifest_name(archive)) if is_name(name)]
        infos = [self.store.head(name) for name in names]
        return {info.name: info for info in infos if info is not None}

    def _entry(self, archive: str, found: dict[str, ObjectInfo]) -> SnapshotEntry:
        info, manifest = found.get(archive), found.get(manifest_name(archive))
        signed, problem = self._manifest(manifest) if manifest else (None, None)
        if info is None:
            problem = problem or f"the archive `{archive}` is missing"
        elif signed and signed.manifest.archive.name != archive:
            problem = f"its manifest is the one of `{signed.manifest.archive.name}`"
        elif signed and signed.manifest.archive.bytes != info.size:
            problem = (
                f"the archive has {info.size:,} bytes, "
                f"its manifest says {signed.manifest.archive.bytes:,}"
            )
        stored = info or manifest
        return SnapshotEntry(
            id=archive.removesuffix(ARCHIVE_SUFFIX),
            archive=archive,
            bytes=info.size if info else None,
            signed=signed,
            problem=problem,
            stored=stored.modified if stored else datetime.fromtimestamp(0, UTC),
            # The paper recipe writes a manifest only once the archive was read back in full.
            examined=Examination.READ_BACK.value if signed else STORED,
        )

    def _manifest(self, info: ObjectInfo) -> tuple[SignedManifest | None, str | None]:
        try:
            return self._decoded(info), None
        except StoreUnreachable:
            raise
        except (SnapshotDamaged, WrongKey, StorageError) as error:
            return None, error.message

    def _decoded(self, info: ObjectInfo) -> SignedManifest:
        if info.size > LARGEST_BYTES:
            raise ManifestInvalid(f"the manifest has {info.size:,} bytes, too many to be one")
        return decode(self.store.get(info.name), self.trusted)

    def _refuse_bad_manifest(self, info: ObjectInfo | None) -> None:
        if info is None:
            return
        hint = f"alexandria snapshot list   # or, to do without it, move `{info.name}` away"
        try:
            self._decoded(info)
        except ManifestInvalid as error:
            raise ManifestInvalid(f"`{info.name}`: {error.message}", hint=hint) from error
        except WrongKey as error:
            raise WrongKey(f"`{info.name}`: {error.message}", hint=error.hint or hint) from error


def archive_name(application: str, at: datetime) -> str:
    """Return the paper runbook's name for an archive: `alexandria-ee-20261123T120000.pgdump`."""
    return f"{application}-{at.astimezone(UTC):%Y%m%dT%H%M%S}{ARCHIVE_SUFFIX}"


def manifest_name(archive: str) -> str:
    """Return the name of the manifest beside an archive."""
    return archive + MANIFEST_SUFFIX


def _archive_of(name: str, found: Container[str]) -> str | None:
    """Return the archive that a file is, or is the manifest of; None for a file of others."""
    if name.endswith(ARCHIVE_SUFFIX):
        return name
    archive = name.removesuffix(MANIFEST_SUFFIX)
    # `--file` takes any name: such an archive is known by the manifest beside it.
    if archive != name and (archive.endswith(ARCHIVE_SUFFIX) or archive in found):
        return archive
    return None
