"""Accept a restore in place: drop what it has put aside, after a snapshot of it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.postgres.aside import SCHEMA, Aside, dependents, size_of, things_aside
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.put_aside import condemn, drop_aside
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.runbooks.accept import (
    NAME,
    AcceptParts,
    AcceptState,
    refuse_without_snapshot,
)
from alexandria_backup.runbooks.kept import find_aside
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, shell


def accept_in_place_runbook(parts: AcceptParts) -> Runbook[AcceptState]:
    """Return the steps that drop what was put aside; from the drop on there is no way back."""
    return Runbook(
        name=NAME,
        steps=(FindAside(parts=parts), SnapshotAside(parts=parts), DropAside(parts=parts)),
        state_type=AcceptState,
    )


@dataclass(frozen=True, kw_only=True)
class FindAside(ReadingStep):
    """Find what the run has put aside, and what needs it."""

    name: ClassVar[str] = "find"

    parts: AcceptParts

    def explain(self, state: AcceptState) -> Explanation:
        """Say where it is looked for."""
        return Explanation(
            sentence=f"find what `{state.of_run}` put aside in `{state.target}`",
            commands=(shell("psql", f"--dbname={state.target}", "-c", r"\dn+"),),
        )

    def do(self, state: AcceptState) -> Done[AcceptState]:
        """Find it; refuse where something of the application's would go with it."""
        refuse_without_snapshot(self.parts, state)
        with self.parts.servers.session(state.target, "find") as session:
            refuse_other_holder(session, state.run)
            kept = find_aside(session, run=state.of_run, dropping=True)
            _refuse_dependents(session, kept.things)
            size = size_of(session, kept.things)
        names = tuple(f"{thing.kind} {thing.name}" for thing in kept.things)
        return Done(state.model_copy(update={"aside": names, "bytes": size}), ", ".join(names))


@dataclass(frozen=True, kw_only=True)
class SnapshotAside:
    """Take a snapshot of the database with what was put aside: what is dropped can come back."""

    name: ClassVar[str] = "snapshot"
    changes: ClassVar[bool] = True

    parts: AcceptParts

    def explain(self, state: AcceptState) -> Explanation:
        """Give the paper recipe."""
        if state.discard:
            return Explanation(sentence="take no snapshot, as `--discard` says")
        return Explanation(
            sentence=f"take a snapshot of `{state.target}` with what was put aside",
            commands=(
                shell("pg_dump", "--format=custom", "--compress=9", f"--dbname={state.target}"),
            ),
        )

    def do(self, state: AcceptState) -> Done[AcceptState]:
        """Take it; nothing is dropped without."""
        if state.discard or self.parts.safety is None:
            return Done(state, "none, as asked")
        if state.snapshot is not None:
            return Done(state, f"taken before: `{state.snapshot}`")
        taken = self.parts.safety(state.target, f"before {state.run}", with_aside=True)
        return Done(state.model_copy(update={"snapshot": taken}), f"`{taken}`")

    def undo(self, state: AcceptState) -> AcceptState:
        """A snapshot that was taken stays."""
        return state


@dataclass(frozen=True, kw_only=True)
class DropAside:
    """Drop what was put aside."""

    name: ClassVar[str] = "drop"
    changes: ClassVar[bool] = True

    parts: AcceptParts

    def explain(self, state: AcceptState) -> Explanation:
        """Give a command for each schema."""
        schemas = [
            name.removeprefix(f"{SCHEMA} ") for name in state.aside if name.startswith(SCHEMA)
        ]
        return Explanation(
            sentence="drop what was put aside: " + (", ".join(state.aside) or "…"),
            commands=tuple(
                shell(
                    *("psql", f"--dbname={state.target}", "-c"),
                    f"drop schema {quote_identifier(name)} cascade",
                )
                for name in schemas
            ),
        )

    def do(self, state: AcceptState) -> Done[AcceptState]:
        """Drop what carries the run's marker, table by table."""
        with self.parts.servers.session(state.target, "accept") as session:
            # The snapshot may have taken long, and the application is at work.
            things = things_aside(session, state.of_run)
            _refuse_dependents(session, things)
            with session.transaction():
                condemn(session, things)
            drop_aside(session, run=state.of_run, role="shadow")
        return Done(state, "dropped")

    def undo(self, state: AcceptState) -> AcceptState:
        """What is dropped stays dropped; its snapshot is there."""
        return state


def _refuse_dependents(session: Session, things: Collection[Aside]) -> None:
    others = dependents(session, things)
    if others:
        raise PrecheckRefused(
            f"{others[0]} needs what was put aside, and would be dropped with it"
            + (f"; so would {len(others) - 1} more" if len(others) > 1 else ""),
            hint="drop it, or let it use what is there now",
        )
