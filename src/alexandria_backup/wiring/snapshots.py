"""Taking snapshots, looking at them, reading them back."""

from collections.abc import Mapping
from dataclasses import dataclass

from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.runbooks import snapshot as snapshotting
from alexandria_backup.runbooks.procedure import Procedure
from alexandria_backup.runbooks.step import Runbook
from alexandria_backup.runbooks.transition import Transition, read_state
from alexandria_backup.runbooks.verify import Verdict, verify_snapshot
from alexandria_backup.wiring.places import Places, target
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.runs import Rebuild, Rebuilt, begin, new_run


@dataclass(frozen=True, kw_only=True)
class Snapshots:
    """What `alexandria snapshot` does."""

    rooms: Rooms
    places: Places

    @property
    def rebuild(self) -> Mapping[str, Rebuild]:
        """How each runbook of this family is built from its journal."""
        return {snapshotting.NAME: self._stopped}

    def create(
        self,
        *,
        file: str | None,
        kind: SnapshotKind,
        note: str | None,
        database: str | None = None,
        journalled: bool = True,
    ) -> Procedure[snapshotting.SnapshotState]:
        """Return the taking of a snapshot into `file`, or into the repository."""
        location, archive = target(file) if file else (None, None)
        state = snapshotting.SnapshotState(
            run=new_run(snapshotting.NAME),
            database=database or self.rooms.servers.database,
            application=self.rooms.settings.application.name,
            kind=kind,
            note=note,
            store=self.places.snapshots(location).store.url,
            archive=archive,
        )
        return begin(self.rooms, self._runbook(location), state, journalled=journalled)

    def take_safety(self, database: str, note: str) -> str:
        """Take a safety snapshot as part of another run, whose journal tells of it."""
        procedure = self.create(
            file=None, kind=SnapshotKind.SAFETY, note=note, database=database, journalled=False
        )
        return procedure.run(lambda _: None).state.snapshot

    def all(self, location: str | None = None) -> tuple[SnapshotEntry, ...]:
        """Return every snapshot of a place, or of the repository."""
        return self.places.snapshots(location).all()

    def entry(self, name: str) -> SnapshotEntry:
        """Return the snapshot of an id, of `latest`, or of a path or URL."""
        location, archive = self.places.locate(name)
        return self.places.snapshots(location).find(archive)

    def verify(self, name: str) -> Verdict:
        """Read a snapshot in full and compare it with its manifest."""
        location, archive = self.places.locate(name)
        place = self.places.place(location)
        entry = place.find(archive)
        return verify_snapshot(
            entry, place.archive(entry.archive), self.rooms.chain, self.rooms.emit
        )

    def _runbook(self, location: str | None) -> Runbook[snapshotting.SnapshotState]:
        return snapshotting.snapshot_runbook(
            snapshotting.SnapshotParts(
                servers=self.rooms.servers,
                snapshots=self.places.snapshots(location),
                tools=self.rooms.tools,
                chain=self.rooms.chain,
                key=self.rooms.signing_key,
                options=self.rooms.settings.snapshot.pg_dump_options,
                emit=self.rooms.emit,
            )
        )

    def _stopped(self, last: Transition) -> Rebuilt[snapshotting.SnapshotState]:
        store = read_state(snapshotting.SnapshotState, last).store
        return Rebuilt(runbook=self._runbook(store))
