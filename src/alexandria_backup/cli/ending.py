"""How a command that ran a runbook ends: one rule for those that start one or go on with one."""

from alexandria_backup.cli.invocation import Invocation
from alexandria_backup.cli.warnings_of_run import remember_warnings
from alexandria_backup.runbooks.procedure import RunSummary
from alexandria_backup.runbooks.repository_snapshot_state import RepositorySnapshotState
from alexandria_backup.runbooks.snapshot import SnapshotState
from alexandria_backup.runbooks.step import RunState
from alexandria_backup.wiring.wiring import Wiring


def finish(invocation: Invocation, wiring: Wiring, summary: RunSummary[RunState]) -> None:
    """Remember the run's warnings, and raise what its audit chain asks for.

    Raises AuditBroken or AuditUnverified: the work is done all the same, and must not look clean.
    """
    remember_warnings(invocation, summary)
    if summary.outcome == "undone":
        return
    state = summary.state
    if isinstance(state, SnapshotState | RepositorySnapshotState):
        wiring.audits.require(state.chain, f"`{state.snapshot}`")
        return
    # Here, since it takes a tenth of a snapshot's start, which needs nothing of a restore.
    from alexandria_backup.runbooks.restore_state import RestoreState  # noqa: PLC0415

    if isinstance(state, RestoreState):
        wiring.restores.record(state)
        if state.source and not state.request.accept_chain:
            wiring.audits.require(state.source.chain, f"`{state.source.snapshot}`")
