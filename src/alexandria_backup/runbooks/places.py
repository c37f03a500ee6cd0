"""Where a runbook finds snapshots: a folder of files, or a repository."""

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from alexandria_backup.archive.toc import Compression
from alexandria_backup.archive.writer import ArchiveWriter
from alexandria_backup.copying.archive_source import ArchiveApart, ArchiveSource, StoredFile
from alexandria_backup.copying.snapshot_archive import SnapshotArchive
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.file_snapshots import ARCHIVE_SUFFIX, FileSnapshots
from alexandria_backup.repository.objects import ObjectShelf, objects_present
from alexandria_backup.repository.opened import Repository
from alexandria_backup.runbooks.step import shell


class AsFile(NamedTuple):
    """An archive as a file, for the equivalent commands of a plan."""

    #: What fetches or makes it; empty where it is one.
    commands: tuple[str, ...]
    file: str


class SnapshotPlace(Protocol):
    """The snapshots of one place, for whoever reads them."""

    @property
    def trusts(self) -> bool:
        """Whether there are keys whose signatures count, so that a snapshot must have one."""
        ...

    def find(self, name: str) -> SnapshotEntry:
        """Return the snapshot of this name; raises SnapshotMissing, ManifestInvalid, WrongKey."""
        ...

    def archive(self, name: str) -> ArchiveSource:
        """Return the archive that an entry names as its own."""
        ...

    def as_file(self, name: str) -> AsFile:
        """Return how a person would come by the same archive as a file."""
        ...


@dataclass(frozen=True)
class FilePlace:
    """A folder or prefix of archives."""

    snapshots: FileSnapshots

    @property
    def trusts(self) -> bool:
        """Tell whether trusted keys are set."""
        return bool(self.snapshots.trusted)

    def find(self, name: str) -> SnapshotEntry:
        """Find the file."""
        return self.snapshots.find(name)

    def archive(self, name: str) -> ArchiveSource:
        """Return the file."""
        return StoredFile(store=self.snapshots.store, name=name)

    def as_file(self, name: str) -> AsFile:
        """Return the file itself."""
        return AsFile((), name)


@dataclass(frozen=True)
class RepositoryPlace:
    """A repository; `open_shelf` opens a shelf on its objects for one thread."""

    repository: Repository
    open_shelf: Callable[[], ObjectShelf]

    @property
    def trusts(self) -> bool:
        """Tell whether snapshots of this repository are signed."""
        return bool(self.repository.trusted)

    def find(self, name: str) -> SnapshotEntry:
        """Find the manifest."""
        return self.repository.snapshots.find(name)

    def archive(self, name: str) -> ArchiveSource:
        """Return the snapshot as one archive; a lease is held while it is read."""
        manifest = self.find(name).manifest
        if manifest is None:
            raise SnapshotDamaged(f"`{name}` has no manifest", hint="alexandria repository check")
        archive = SnapshotArchive.of(
            manifest,
            open_shelf=self.open_shelf,
            identities=self.repository.keys.identities,
            digest_key=self.repository.digest_key,
        )
        return Leased(archive=archive, repository=self.repository)

    def as_file(self, name: str) -> AsFile:
        """Return an export."""
        file = f"{name}{ARCHIVE_SUFFIX}"
        return AsFile((shell("alexandria", "snapshot", "export", name, file),), file)


@dataclass(frozen=True, kw_only=True)
class Leased:
    """An archive that no prune takes away while it is read."""

    archive: SnapshotArchive
    repository: Repository

    @property
    def name(self) -> str:
        """The snapshot's id."""
        return self.archive.name

    @property
    def identity(self) -> str:
        """What the manifest says, as a digest."""
        return self.archive.identity

    def size(self) -> int:
        """Return what the manifest says."""
        return self.archive.size()

    def only(self, tables: Collection[str]) -> "Leased":
        """Return it without the frames of other tables."""
        return replace(self, archive=self.archive.only(tables))

    def local_path(self) -> None:
        """Return None: it is no file."""

    def require_present(self) -> None:
        """Look into one listing of the objects, instead of asking for each."""
        present = objects_present(self.repository.store)
        looked_up = ObjectShelf(self.repository.store, None, present=present)
        replace(self.archive, open_shelf=lambda: looked_up).require_present()

    def chunks(self) -> Generator[bytes]:
        """Read it; LockedByAnotherRun where it is being removed."""
        with self.repository.reading(self.archive.name):
            yield from self.archive.chunks()

    @contextmanager
    def apart(self) -> Iterator[ArchiveApart]:
        """Take it apart; LockedByAnotherRun where it is being removed."""
        with self.repository.reading(self.archive.name), self.archive.apart() as apart:
            yield apart

    @contextmanager
    def writer(
        self, *, compression: Compression, format_minor: int | None
    ) -> Iterator[ArchiveWriter]:
        """Read it in another form; LockedByAnotherRun where it is being removed."""
        with (
            self.repository.reading(self.archive.name),
            self.archive.writer(compression=compression, format_minor=format_minor) as writer,
        ):
            yield writer
