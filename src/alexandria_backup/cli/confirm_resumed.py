"""Ask for a run of any runbook that goes on."""

from collections.abc import Callable

from alexandria_backup.cli.bundle_confirmation import (
    confirm_bundle_accept,
    confirm_bundle_restore,
    confirm_bundle_rollback,
)
from alexandria_backup.cli.confirmation import confirm_accept, confirm_restore, confirm_rollback
from alexandria_backup.cli.invocation import Invocation
from alexandria_backup.runbooks.accept import AcceptState
from alexandria_backup.runbooks.bundle_state import (
    BundleAcceptState,
    BundleRestoreState,
    BundleRollbackState,
)
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.rollback import RollbackState
from alexandria_backup.runbooks.step import RunState


def confirm_any(invocation: Invocation, *, yes: bool) -> Callable[[RunState], None]:
    """Return what asks for a run of any runbook that goes on before its first change."""

    def confirm(state: RunState) -> None:
        if isinstance(state, RestoreState):
            confirm_restore(invocation, yes=yes)(state)
        elif isinstance(state, RollbackState):
            confirm_rollback(invocation, yes=yes)(state)
        elif isinstance(state, AcceptState):
            confirm_accept(invocation, yes=yes)(state)
        elif isinstance(state, BundleRestoreState):
            confirm_bundle_restore(invocation, yes=yes)(state)
        elif isinstance(state, BundleRollbackState):
            confirm_bundle_rollback(invocation, yes=yes)(state)
        elif isinstance(state, BundleAcceptState):
            confirm_bundle_accept(invocation, yes=yes)(state)

    return confirm
