"""Runs as text: journals, and how a run ended."""

from collections.abc import Sequence

from alexandria_backup.cli.amounts import duration
from alexandria_backup.cli.confirmation import left_out_lines
from alexandria_backup.runbooks.procedure import RunSummary
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.rollback import RollbackState
from alexandria_backup.runbooks.step import RunState
from alexandria_backup.runbooks.transition import Transition


def journal_text(transitions: Sequence[Transition]) -> str:
    """Return a line per transition, and the commands that fit a run that waits."""
    lines = [
        f"{line.at:%Y-%m-%d %H:%M:%S}  {line.host}  {line.phase.value:<9} {line.step or ''}"
        + (f"  {line.message}" if line.message else "")
        for line in transitions
    ]
    if transitions and not transitions[-1].over:
        run = transitions[-1].run
        lines += ["", f"hint: alexandria run resume {run}", f"hint: alexandria run abort {run}"]
    return "\n".join(lines)


def summary_text(summary: RunSummary[RunState]) -> str:
    """Return how any run ended."""
    state = summary.state
    if isinstance(state, RestoreState) and summary.outcome != "undone":
        return restore_text(summary)
    if isinstance(state, RollbackState) and summary.outcome != "undone":
        return rollback_text(summary)
    return f"{summary.run}: {summary.outcome} in {duration(summary.seconds)}"


def restore_text(summary: RunSummary[RunState]) -> str:
    """Return what was restored, what was proved, and how to go back."""
    state = summary.state
    if not isinstance(state, RestoreState) or state.proof is None:
        return f"{summary.run}: {summary.outcome}"
    proof = state.proof
    where = state.request.to_database or state.target
    lines = [
        f"restored  `{where}` in {duration(summary.seconds)}, {summary.outcome}",
        f"proved    {proof.tables} tables and {proof.rows:,} rows counted, "
        f"{proof.digests} tables compared row by row"
        + (f", audit chain {proof.chain}" if proof.chain else ""),
    ]
    if proof.amcheck is not None:
        lines.append(f"amcheck   {proof.amcheck:,} indexes and tables read to their last page")
    lines += [f"not compared  {reason}" for reason in proof.not_compared]
    lines += left_out_lines(state.known_source)
    if summary.downtime_seconds is not None:
        lines.append(f"downtime  {duration(summary.downtime_seconds)}")
    kept = state.aside or (f"the previous database, as `{state.kept_name}`",)
    if state.live is not None and state.request.to_database is None:
        lines += [
            *(f"kept      {what}" for what in kept),
            f"hint: alexandria rollback {summary.run}      # go back",
            f"hint: alexandria run accept {summary.run}    # drop what was replaced",
        ]
    return "\n".join(lines)


def rollback_text(summary: RunSummary[RunState]) -> str:
    """Return what was swapped back, and how to go forward again."""
    state = summary.state
    if not isinstance(state, RollbackState):
        return f"{summary.run}: {summary.outcome}"
    lines = [f"rolled back  `{state.target}` in {duration(summary.seconds)}, {summary.outcome}"]
    if summary.downtime_seconds is not None:
        lines.append(f"downtime     {duration(summary.downtime_seconds)}")
    in_use = state.aside or (f"the database that was in use, as `{state.kept_name}`",)
    lines += [f"kept         {what}" for what in in_use]
    lines.append(f"hint: alexandria rollback {summary.run}    # forward again")
    return "\n".join(lines)
