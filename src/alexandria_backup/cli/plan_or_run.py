"""What commands that replace or drop a database have in common: show the plan, or ask and run."""

from collections.abc import Callable
from typing import TypeVar

from alexandria_backup.cli.invocation import Invocation
from alexandria_backup.cli.plan_text import plan_text
from alexandria_backup.runbooks.procedure import Procedure, RunSummary
from alexandria_backup.runbooks.step import Confirm, RunState

S = TypeVar("S", bound=RunState)


def plan_or_run(
    invocation: Invocation,
    procedure: Procedure[S],
    *,
    plan: bool,
    confirm: Confirm[S],
    text: Callable[[RunSummary[S]], str],
) -> RunSummary[S] | None:
    """Print the plan and return None, or run to the end, print how it went and return that."""
    if plan:
        steps = procedure.plan()
        invocation.renderer.result(steps, plan_text(steps))
        return None
    summary = procedure.run(confirm)
    invocation.renderer.result(summary, text(summary))
    return summary
