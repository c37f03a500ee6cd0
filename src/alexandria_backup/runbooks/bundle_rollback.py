"""The way back from a restore of a bundle, and the giving up of that way.

A rollback is the same exchange backwards, and keeps what it takes away: it can be rolled back
itself. To accept a restore removes what it has kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alexandria_backup.errors import UsageError
from alexandria_backup.events import Emit
from alexandria_backup.runbooks.bundle_make import remove
from alexandria_backup.runbooks.bundle_state import (
    BundleAcceptState,
    BundleRollbackState,
    Root,
    SwapState,
)
from alexandria_backup.runbooks.bundle_swap import (
    SwapRoots,
    beside,
    identity,
)
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, shell
from alexandria_backup.runbooks.switch_application import (
    Application,
    StartAgain,
    StopApplication,
)

ROLLBACK = "backup-rollback"
ACCEPT = "backup-accept"
_LIST = "alexandria run list"


@dataclass(frozen=True, kw_only=True)
class BundleRollbackParts:
    """What the steps of a rollback work with."""

    application: Application
    emit: Emit


def bundle_rollback_runbook(
    parts: BundleRollbackParts, *, live: bool
) -> Runbook[BundleRollbackState]:
    """Return the steps of a rollback, in order."""
    swap: SwapRoots[BundleRollbackState] = SwapRoots()
    find = FindKept()
    stop: StopApplication[BundleRollbackState] = StopApplication(
        application=parts.application, emit=parts.emit
    )
    start: StartAgain[BundleRollbackState] = StartAgain(
        application=parts.application, emit=parts.emit
    )
    return Runbook(
        name=ROLLBACK,
        steps=(find, stop, swap, start) if live else (find, swap),
        state_type=BundleRollbackState,
        commit=swap.name,
        replaces_live=True,
    )


def roots_back(state: SwapState, run: str) -> tuple[Root, ...]:
    """Return the exchange that takes back the one of a run that is over; UsageError if none can.

    What a run has exchanged and kept is found on the disk: a later run may have used it up.
    """
    back = []
    for root in state.roots:
        was = identity(root.kept)
        now = identity(root.target)
        if root.incoming is not None and now != root.identity:
            raise UsageError(
                f"`{root.target}` is not what run `{state.run}` has put there any more",
                hint=_LIST,
            )
        if was is None and root.kept in state.kept:
            raise UsageError(
                f"`{root.kept}`, which run `{state.run}` has kept, is gone", hint=_LIST
            )
        back.append(
            root.model_copy(
                update={
                    "incoming": root.kept if was is not None else None,
                    "identity": was,
                    "kept": str(beside(Path(root.target), "kept", run)),
                }
            )
        )
    if not back:
        raise UsageError(f"run `{state.run}` has exchanged nothing", hint=_LIST)
    return tuple(back)


@dataclass(frozen=True, kw_only=True)
class FindKept(ReadingStep):
    """Find what the restore has kept."""

    name: ClassVar[str] = "find"

    def explain(self, state: BundleRollbackState) -> Explanation:
        """Name what is looked for."""
        return Explanation(
            sentence=f"find what `{state.of_run}` has kept",
            commands=(shell("ls", "-d", *(root.incoming or "" for root in state.roots)),),
        )

    def do(self, state: BundleRollbackState) -> Done[BundleRollbackState]:
        """Raise UsageError where something of it is gone."""
        for root in state.roots:
            if root.incoming is not None and identity(root.incoming) != root.identity:
                raise UsageError(f"`{root.incoming}`, which `{state.of_run}` has kept, is gone")
        return Done(state, f"{len(state.roots)} paths")


def bundle_accept_runbook() -> Runbook[BundleAcceptState]:
    """Return the one step of giving up what was kept."""
    return Runbook(name=ACCEPT, steps=(RemoveKept(),), state_type=BundleAcceptState)


def kept_by(roots: Sequence[Root]) -> tuple[str, ...]:
    """Return what a run has kept and what is still there of it."""
    return tuple(root.kept for root in roots if identity(root.kept) is not None)


@dataclass(frozen=True, kw_only=True)
class RemoveKept:
    """Remove what a restore has replaced; there is no rollback then."""

    name: ClassVar[str] = "remove"
    changes: ClassVar[bool] = True

    def explain(self, state: BundleAcceptState) -> Explanation:
        """Name what is removed."""
        return Explanation(
            sentence=f"remove the {len(state.kept)} paths that `{state.of_run}` has kept",
            commands=(shell("rm", "-rf", *state.kept),),
        )

    def do(self, state: BundleAcceptState) -> Done[BundleAcceptState]:
        """Remove them; those that are gone already are no matter."""
        for path in state.kept:
            remove(path)
        return Done(state, f"{len(state.kept)} paths")

    def undo(self, state: BundleAcceptState) -> BundleAcceptState:
        """What is removed is gone."""
        return state
