"""The step of a restore that takes a snapshot of what is about to be replaced."""

from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.errors import (
    ClientToolFailed,
    ClientToolsMissing,
    RightsMissing,
    SnapshotDamaged,
    SpaceMissing,
    StatementFailed,
    StorageError,
)
from alexandria_backup.events import Warned
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.step import Done, Explanation, shell

#: What may go wrong with a safety snapshot without the restore being in doubt.
_NO_SNAPSHOT = (
    ClientToolFailed,
    ClientToolsMissing,
    RightsMissing,
    SnapshotDamaged,
    SpaceMissing,
    StatementFailed,
    StorageError,
)


@dataclass(frozen=True, kw_only=True)
class SafetySnapshot:
    """Snapshot the live database as it is now; the swap keeps it besides."""

    name: ClassVar[str] = "safety-snapshot"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Give the paper recipe."""
        if state.live is None:
            return Explanation(sentence=f"nothing: there is no `{state.target}` yet")
        return Explanation(
            sentence=f"take a snapshot of `{state.target}` as it is now",
            commands=(
                shell("pg_dump", "--format=custom", "--compress=9", f"--dbname={state.target}"),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Take it; a failure is a warning where the swap keeps the database; in place it raises."""
        if state.live is None:
            return Done(state, "there is no live database")
        if state.safety is not None:
            return Done(state, f"taken before: `{state.safety}`")
        if self.parts.safety is None:
            return self._without(state, "no repository is set")
        try:
            taken = self.parts.safety(state.target, f"before {state.run}")
        except _NO_SNAPSHOT as error:
            if state.works_in_place:
                raise
            return self._without(state, error.message)
        return Done(state.model_copy(update={"safety": taken}), f"`{taken}`")

    def undo(self, state: RestoreState) -> RestoreState:
        """A snapshot that was taken stays."""
        return state

    def _without(self, state: RestoreState, reason: str) -> Done[RestoreState]:
        warning = f"no safety snapshot: {reason}; the live database itself is kept"
        self.parts.emit(Warned(message=warning))
        return Done(state.model_copy(update={"warnings": (*state.warnings, warning)}), "none taken")
