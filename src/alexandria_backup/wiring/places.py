"""What a typed name means: `latest`, an id, a path, a URL."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from alexandria_backup.errors import SettingsInvalid, UsageError
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.file_snapshots import FileSnapshots
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.part_sealing import PartSealing
from alexandria_backup.repository.snapshots import RepositorySnapshots
from alexandria_backup.runbooks.passed_over import warn_of_newer
from alexandria_backup.runbooks.places import FilePlace, RepositoryPlace, SnapshotPlace
from alexandria_backup.storage.locate import split_location
from alexandria_backup.storage.open_retrying import open_retrying
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.target import absolute


@dataclass(frozen=True)
class Places:
    """Where snapshots lie, as a person names them."""

    rooms: Rooms

    def snapshots(self, location: str | None = None) -> FileSnapshots | RepositorySnapshots:
        """Return the snapshots of a place, or of the repository; raises SettingsInvalid."""
        repository = self.rooms.opened if self._means_repository(location) else None
        return repository.snapshots if repository is not None else self.files(location)

    def files(self, location: str | None = None) -> FileSnapshots:
        """Return the files of the paper recipe in a place; raises SettingsInvalid."""
        store = self.rooms.store(location) if location else self.rooms.repository
        if store is None:
            raise SettingsInvalid(
                "no repository is set",
                hint="export ALEXANDRIA_REPOSITORY=/var/backups/alexandria",
            )
        return FileSnapshots(store=store, trusted=self.rooms.trusted_keys)

    def place(self, location: str | None = None) -> SnapshotPlace:
        """Return the same, for whoever reads archives; raises SettingsInvalid."""
        if self._means_repository(location):
            repository = self.rooms.opened
            if repository is not None:
                return RepositoryPlace(repository, partial(_reading_shelf, repository))
        return FilePlace(self.files(location))

    def _means_repository(self, location: str | None) -> bool:
        store = self.rooms.repository
        return location is None or (store is not None and location == store.url)

    def latest(self, at: datetime | None = None) -> SnapshotEntry:
        """Return the newest snapshot of this application and database; raises SnapshotMissing.

        One that was taken after `at`, where that is given, is too young.
        """
        return self.snapshots().latest(
            application=self.rooms.settings.application.name,
            database=self.rooms.servers.database,
            at=at,
        )

    def as_of(self, name: str, at: datetime | None) -> str:
        """Return the id of what was `latest` at a time; without one, the name as it is.

        Raises SnapshotMissing, and UsageError where a time stands beside another name.
        """
        if at is None:
            return name
        if name != "latest":
            raise UsageError(
                f"`{name}` is one snapshot, at whatever time: `--at` needs `latest`",
                hint="alexandria snapshot list",
            )
        entry = self.latest(at)
        warn_of_newer(self.snapshots(), entry, self.rooms.emit, at=at)
        return entry.id

    def locate(self, name: str) -> tuple[str, str]:
        """Return store and archive of `latest`, of an id in the repository, or of a file."""
        if name == "latest":
            entry = self.latest()
            warn_of_newer(self.snapshots(), entry, self.rooms.emit)
            return self._located(entry)
        if "/" in name or Path(name).is_file():
            # A folder is no snapshot, and who looks for one in it can say more about it.
            return absolute(split_location(name.rstrip("/") or name))
        return self._located(self.snapshots().find(name))

    def _located(self, entry: SnapshotEntry) -> tuple[str, str]:
        """Return where an entry of the repository is found again."""
        snapshots = self.snapshots()
        of_files = isinstance(snapshots, FileSnapshots)
        return snapshots.store.url, entry.archive if of_files else entry.id


def _reading_shelf(repository: Repository) -> ObjectShelf:
    key = repository.digest_key
    sealing = PartSealing(recipients=(), digest_key=key) if key is not None else None
    return ObjectShelf(open_retrying(repository.store.url), sealing)
