"""Reading snapshots back."""

from dataclasses import dataclass

from alexandria_backup.archive.toc import Compression
from alexandria_backup.repository.file_snapshots import ARCHIVE_SUFFIX
from alexandria_backup.runbooks.deep_verify import verify_deep
from alexandria_backup.runbooks.export import Exported, ExportRequest, export_snapshot
from alexandria_backup.runbooks.places import RepositoryPlace
from alexandria_backup.runbooks.verify import Verdict, verify_snapshot
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.target import target


@dataclass(frozen=True, kw_only=True)
class SnapshotReading:
    """What `alexandria snapshot verify` and `snapshot export` do."""

    rooms: Rooms
    places: Places

    def verify(self, name: str) -> Verdict:
        """Read a snapshot in full and compare it with its manifest."""
        location, archive = self.places.locate(name)
        place = self.places.place(location)
        entry = place.find(archive)
        source, chain, emit = place.archive(entry.archive), self.rooms.chain, self.rooms.emit
        if isinstance(place, RepositoryPlace):
            return verify_deep(place.repository, entry, source, chain, emit)
        return verify_snapshot(entry, source, chain, emit)

    def export(
        self, name: str, *, file: str, compression: Compression, format_minor: int | None
    ) -> Exported:
        """Write a snapshot as one archive into `file`: a path, a folder, a URL or a prefix."""
        location, archive = self.places.locate(name)
        place = self.places.place(location)
        entry = place.find(archive)
        target_store, target_name = target(file)
        request = ExportRequest(
            entry=entry,
            archive=place.archive(entry.archive),
            store=self.rooms.folder(target_store) or self.rooms.store(target_store),
            name=target_name or f"{entry.id}{ARCHIVE_SUFFIX}",
            compression=compression,
            format_minor=format_minor,
        )
        return export_snapshot(request, self.rooms.emit)
