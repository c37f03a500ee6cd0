"""What a snapshot into a repository was in the end: numbers for its journal, and a line."""

from alexandria_backup.copying.copy_request import CopiedDatabase
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.snapshots import stored_bytes
from alexandria_backup.runbooks.chain_reader import chain_seen
from alexandria_backup.runbooks.repository_snapshot_state import RepositorySnapshotState
from alexandria_backup.runbooks.snapshot_harvest import Harvest


def told(
    state: RepositorySnapshotState, manifest: Manifest, copied: CopiedDatabase, harvest: Harvest
) -> RepositorySnapshotState:
    """Return the state of a snapshot that is complete, but for what its commit has said."""
    frames = [f for t in manifest.tables if t.framed for f in t.framed.frames]
    read = sum(frame.taken_from is None for frame in frames)
    return state.model_copy(
        update={
            "objection": copied.objection,
            "tables": len(manifest.tables),
            "rows": manifest.rows,
            "read_bytes": copied.read_bytes,
            "new_frame_bytes": copied.new_bytes,
            "new_bytes": copied.new_bytes + copied.base.new_bytes,
            "bytes": stored_bytes(manifest),
            "frames_read": read,
            "frames_taken": len(frames) - read,
            "chain": chain_seen(harvest.report),
        }
    )


def said(state: RepositorySnapshotState) -> str:
    """Return what was done in a line."""
    line = f"{state.tables} tables, {state.rows:,} rows; {state.frames_read:,} frames read, "
    line += f"{state.frames_taken:,} taken over"
    return line + (f"; audit: {state.chain.summary}" if state.chain else "")
