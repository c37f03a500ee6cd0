"""Restore of a bundle: beside what is there, proved, then exchanged by renames; the old is kept.

The bundle is read to its end before anything is made, and what was made is read back from the disk
and compared before anything is exchanged. The application is down for the renames alone.
"""

from alexandria_backup.runbooks.bundle_find import CheckTarget, FindBundle
from alexandria_backup.runbooks.bundle_make import ExtractRoots, ProveRoots
from alexandria_backup.runbooks.bundle_restore_parts import BundleRestoreParts, is_live
from alexandria_backup.runbooks.bundle_state import BundleRestoreRequest, BundleRestoreState
from alexandria_backup.runbooks.bundle_swap import SwapRoots
from alexandria_backup.runbooks.step import Runbook
from alexandria_backup.runbooks.switch_application import StartAgain, StopApplication

NAME = "backup-restore"

_Step = (
    FindBundle
    | CheckTarget
    | ExtractRoots
    | ProveRoots
    | StopApplication[BundleRestoreState]
    | SwapRoots[BundleRestoreState]
    | StartAgain[BundleRestoreState]
)


def bundle_restore_runbook(
    parts: BundleRestoreParts, request: BundleRestoreRequest
) -> Runbook[BundleRestoreState]:
    """Return the steps of a restore; the application has a part in it where `/` is the target."""
    read = (FindBundle(parts=parts), CheckTarget(parts=parts))
    make = (ExtractRoots(parts=parts), ProveRoots(parts=parts))
    swap: SwapRoots[BundleRestoreState] = SwapRoots()
    if not is_live(request.to):
        return _runbook((*read, *make, swap))
    application = parts.application()
    stop: StopApplication[BundleRestoreState] = StopApplication(
        application=application, emit=parts.emit
    )
    start: StartAgain[BundleRestoreState] = StartAgain(application=application, emit=parts.emit)
    return _runbook((*read, *make, stop, swap, start))


def _runbook(steps: tuple["_Step", ...]) -> Runbook[BundleRestoreState]:
    return Runbook(
        name=NAME, steps=steps, state_type=BundleRestoreState, commit="swap", replaces_live=True
    )
