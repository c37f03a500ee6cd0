"""Backup: configuration, tools and knowledge store into one file that proves itself.

The paper runbook makes a tar by hand and hopes. Here the manifest comes last, states what was
really read, and each problem ends the run with a warning.
"""

from alexandria_backup.runbooks.backup_check import CheckSets
from alexandria_backup.runbooks.backup_pack import PackSets, ReadBack
from alexandria_backup.runbooks.backup_parts import BackupParts
from alexandria_backup.runbooks.bundle_state import BackupState
from alexandria_backup.runbooks.step import Runbook

NAME = "backup"


def backup_runbook(parts: BackupParts, *, read_back: bool) -> Runbook[BackupState]:
    """Return the steps of a backup, in order."""
    steps = (CheckSets(parts=parts), PackSets(parts=parts))
    return Runbook(
        name=NAME,
        steps=(*steps, ReadBack(parts=parts)) if read_back else steps,
        state_type=BackupState,
    )
