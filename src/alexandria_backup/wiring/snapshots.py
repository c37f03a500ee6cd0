"""Looking at snapshots: what is there, and what a name means."""

from dataclasses import dataclass
from datetime import datetime

from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.runbooks.places import RepositoryPlace
from alexandria_backup.wiring.places import Places


@dataclass(frozen=True, kw_only=True)
class Snapshots:
    """What `alexandria snapshot` says of snapshots that are there."""

    places: Places

    def as_of(self, name: str, at: datetime | None) -> str:
        """Return the id of what was `latest` at a time; without one, the name as it is."""
        return self.places.as_of(name, at)

    def all(self, location: str | None = None) -> tuple[SnapshotEntry, ...]:
        """Return every snapshot of a place, or of the repository."""
        return self.places.snapshots(location).all()

    def entry(self, name: str) -> SnapshotEntry:
        """Return the snapshot of an id, of `latest`, or of a path or URL."""
        location, archive = self.places.locate(name)
        return self.places.snapshots(location).find(archive)

    def is_file(self, name: str) -> bool:
        """Tell whether a name means a file of the paper recipe, not a repository's snapshot."""
        location, _ = self.places.locate(name)
        return not isinstance(self.places.place(location), RepositoryPlace)
