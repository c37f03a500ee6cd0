"""Where a runbook finds snapshots: a folder of files, or a repository."""

from dataclasses import dataclass
from typing import Protocol

from alexandria_backup.copying.archive_source import ArchiveSource, StoredFile
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.file_snapshots import FileSnapshots


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
