"""How the taking of a snapshot ended, as text."""

from alexandria_backup.cli.amounts import amount, duration
from alexandria_backup.runbooks.procedure import RunSummary
from alexandria_backup.runbooks.repository_snapshot_state import RepositorySnapshotState
from alexandria_backup.runbooks.snapshot import SnapshotState
from alexandria_backup.runbooks.step import RunState


def snapshot_text(summary: RunSummary[RunState]) -> str:
    """Return what was stored, what was read back, and the audit verdict."""
    state = summary.state
    if isinstance(state, RepositorySnapshotState):
        return _copied_text(summary, state)
    if not isinstance(state, SnapshotState):
        return f"{summary.run}: {summary.outcome}"
    lines = [
        f"snapshot  `{state.snapshot}` in {duration(summary.seconds)}, {summary.outcome}",
        f"stored    {amount(state.bytes or 0, 'bytes')} as {state.location}",
        f"read back {state.tables} tables, {state.rows:,} rows, sha256 {state.sha256}",
        f"audit     {state.chain.summary if state.chain else 'no audit chain found'}",
    ]
    return "\n".join(lines)


def _copied_text(summary: RunSummary[RunState], state: RepositorySnapshotState) -> str:
    compared = f"unchanged since `{state.reference}`" if state.reference else "taken over"
    lines = [
        f"snapshot  `{state.snapshot}` in {duration(summary.seconds)}, {summary.outcome}",
        f"holds     {state.tables} tables, {state.rows:,} rows in {amount(state.bytes, 'bytes')}",
        f"read      {state.frames_read:,} frames, {amount(state.read_bytes, 'bytes')} of text; "
        f"{state.frames_taken:,} {compared}",
        f"new       {amount(state.new_bytes, 'bytes')}, "
        f"{amount(state.new_frame_bytes, 'bytes')} of it for these frames",
        f"audit     {state.chain.summary if state.chain else 'no audit chain found'}",
        f"ledger    {state.head or 'has no entry of it'}",
    ]
    if state.objection is not None:
        lines.insert(3, f"nothing   could be taken over: {state.objection}")
    return "\n".join(lines)
