"""One object from which the commands and the demo take what they work with.

Each family of procedures is imported when a command asks for it, and here is the place for that:
`run list` should not wait for what a restore needs (ruff is told in `pyproject.toml`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from alexandria_backup.events import Emit
from alexandria_backup.settings.loading import load
from alexandria_backup.wiring.rooms import Rooms

if TYPE_CHECKING:
    from alexandria_backup.platforms.deployables.deployables import Files
    from alexandria_backup.runbooks.doctor_diagnosis import Diagnosis
    from alexandria_backup.wiring.audits import Audits
    from alexandria_backup.wiring.bundle_restores import BundleRestores
    from alexandria_backup.wiring.bundles import Bundles
    from alexandria_backup.wiring.drills import Drills
    from alexandria_backup.wiring.places import Places
    from alexandria_backup.wiring.repositories import Repositories
    from alexandria_backup.wiring.restores import Restores
    from alexandria_backup.wiring.runs import Runs
    from alexandria_backup.wiring.snapshot_reading import SnapshotReading
    from alexandria_backup.wiring.snapshot_taking import SnapshotTaking
    from alexandria_backup.wiring.snapshots import Snapshots


@dataclass(frozen=True)
class Wiring:
    """The rooms, and one family of procedures per noun of the command line."""

    rooms: Rooms

    @classmethod
    def load(
        cls,
        *,
        config: Path | None,
        environ: Mapping[str, str],
        cwd: Path,
        dsn_file: Path | None,
        emit: Emit,
        namespace: str | None = None,
        values: Path | None = None,
    ) -> "Wiring":
        """Load the settings; raises SettingsInvalid."""
        loaded = load(config=config, environ=environ, cwd=cwd)
        return cls(
            Rooms(
                settings=loaded.settings,
                emit=emit,
                dsn_file=dsn_file,
                namespace=namespace,
                values=values,
                source=loaded.source,
            )
        )

    @cached_property
    def places(self) -> "Places":
        """What a typed name means."""
        from alexandria_backup.wiring.places import Places

        return Places(self.rooms)

    @cached_property
    def snapshots(self) -> "Snapshots":
        """Looking at snapshots."""
        from alexandria_backup.wiring.snapshots import Snapshots

        return Snapshots(places=self.places)

    @cached_property
    def taking(self) -> "SnapshotTaking":
        """Taking snapshots."""
        from alexandria_backup.wiring.snapshot_taking import SnapshotTaking

        return SnapshotTaking(rooms=self.rooms, places=self.places)

    @cached_property
    def reading(self) -> "SnapshotReading":
        """Reading snapshots back."""
        from alexandria_backup.wiring.snapshot_reading import SnapshotReading

        return SnapshotReading(rooms=self.rooms, places=self.places)

    @cached_property
    def repositories(self) -> "Repositories":
        """Making, checking and pruning the repository."""
        from alexandria_backup.wiring.repositories import Repositories

        return Repositories(self.rooms, self.places)

    @cached_property
    def restores(self) -> "Restores":
        """Restoring, swapping back, accepting."""
        from alexandria_backup.wiring.restores import Restores

        return Restores(rooms=self.rooms, places=self.places, taking=self.taking)

    @cached_property
    def drills(self) -> "Drills":
        """Restoring into a throwaway server."""
        from alexandria_backup.wiring.drills import Drills

        return Drills(rooms=self.rooms, places=self.places)

    @cached_property
    def bundles(self) -> "Bundles":
        """Making bundles, and looking at them."""
        from alexandria_backup.wiring.bundles import Bundles

        return Bundles(rooms=self.rooms, places=lambda: self.places)

    @cached_property
    def bundle_restores(self) -> "BundleRestores":
        """Restoring bundles."""
        from alexandria_backup.wiring.bundle_restores import BundleRestores

        return BundleRestores(rooms=self.rooms)

    @cached_property
    def audits(self) -> "Audits":
        """Verifying the audit chain."""
        from alexandria_backup.wiring.audits import Audits

        return Audits(rooms=self.rooms, places=self.places)

    @cached_property
    def runs(self) -> "Runs":
        """Runs of the past, and those that stopped; a new family adds its runbooks here."""
        from alexandria_backup.wiring.runs import Runs

        return Runs(
            rooms=self.rooms,
            rebuild=lambda: {
                **self.taking.rebuild,
                **self.restores.rebuild,
                **self.bundles.rebuild,
                **self.bundle_restores.rebuild,
            },
        )

    def doctor(self) -> "tuple[Diagnosis, ...]":
        """Check everything that can be checked beforehand."""
        from alexandria_backup.runbooks.doctor import examine
        from alexandria_backup.wiring.doctor import doctor_parts

        return examine(doctor_parts(self.rooms, self.places, self.bundles))

    def cluster_files(self, *, image: str) -> "Files":
        """Return what is deployed to a cluster."""
        from alexandria_backup.wiring.deployment import cluster_files

        rooms = self.rooms
        return cluster_files(rooms.settings, image=image, namespace=rooms.namespace)

    def host_files(self) -> "Files":
        """Return what is deployed to a host."""
        from alexandria_backup.wiring.deployment import host_files

        return host_files(self.rooms.settings, config=self.rooms.source)
