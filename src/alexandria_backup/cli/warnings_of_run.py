"""What the exit code must tell of a run that ended well: that it warned."""

from alexandria_backup.cli.invocation import Invocation
from alexandria_backup.runbooks.procedure import RunSummary
from alexandria_backup.runbooks.step import RunState


def remember_warnings(invocation: Invocation, summary: RunSummary[RunState]) -> None:
    """Remember the warnings of a run that was not undone."""
    if summary.outcome != "undone":
        invocation.warnings += summary.state.warnings
