"""What `alexandria doctor` looks at."""

import os
import sys
from pathlib import Path

from alexandria_backup.errors import SnapshotMissing
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.runbooks.doctor import DoctorParts
from alexandria_backup.wiring.bundles import Bundles
from alexandria_backup.wiring.drills import drill_folder
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms


def doctor_parts(rooms: Rooms, places: Places, bundles: Bundles) -> DoctorParts:
    """Return everything that can be checked beforehand, each opened when its turn comes."""
    settings = rooms.settings
    return DoctorParts(
        servers=lambda: (rooms.servers, rooms.found_dsn.source),
        tools=rooms.tools,
        repository=(lambda: places.snapshots().store) if settings.repository else None,
        opened=lambda: rooms.opened,
        newest=lambda: _newest(places),
        state_dir=settings.state_dir,
        drill_folder=drill_folder(settings),
        chain=lambda: rooms.chain,
        chain_required=settings.audit.required,
        application=lambda: rooms.application,
        server_free_bytes=settings.database.server_free_space,
        bundle=bundles.check(),
        path=tuple(Path(d) for d in os.environ.get("PATH", "").split(os.pathsep) if d),
        program=Path(sys.argv[0]).absolute(),
    )


def _newest(places: Places) -> Manifest | None:
    try:
        return places.latest().manifest
    except SnapshotMissing:
        return None
