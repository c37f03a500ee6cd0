"""Snapshots that `latest` does not mean, although they are newer."""

from datetime import datetime

from alexandria_backup.events import Emit, Warned
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.file_snapshots import FileSnapshots
from alexandria_backup.repository.snapshots import RepositorySnapshots


def warn_of_newer(
    snapshots: FileSnapshots | RepositorySnapshots,
    chosen: SnapshotEntry,
    emit: Emit,
    *,
    at: datetime | None = None,
) -> None:
    """Say which newer snapshots `latest` has passed over because something is wrong with them.

    Those of after `at`, where that is given, would not have been chosen.
    """
    for entry in snapshots.all():
        fitting = at is None or entry.created <= at
        if entry.problem is not None and fitting and entry.stored > chosen.stored:
            emit(
                Warned(
                    message=f"a newer one, `{entry.id}`, is passed over: {entry.problem}",
                    hint="alexandria snapshot list",
                )
            )
