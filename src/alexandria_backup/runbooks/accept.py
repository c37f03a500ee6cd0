"""Accept: the restore is good; drop the database that it replaced, after a snapshot of it."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from alexandria_backup.errors import DatabaseMissing, PrecheckRefused
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres.activity import replication_slots, subscriptions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.shadow import drop_database
from alexandria_backup.postgres.swap import who_is
from alexandria_backup.runbooks.kept import find_kept, readable
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, RunState, shell
from alexandria_backup.runbooks.switch import DatabaseRef

NAME = "accept"


class SafetyTaker(Protocol):
    """Takes a snapshot of kind `safety`; raises what `snapshot create` raises."""

    def __call__(self, database: str, note: str, *, with_aside: bool = False) -> str:
        """Snapshot `database` and return the snapshot's id.

        With what runs have put aside there, or, as usually, without.
        """
        ...


class AcceptState(RunState):
    """The state of an accept."""

    target: str
    #: The run that kept the database.
    of_run: str
    #: Take no snapshot of it.
    discard: bool = False
    kept: DatabaseRef | None = None
    #: What was kept is in the live database itself.
    in_place: bool = False
    #: What was put aside there, as `schema name`.
    aside: tuple[str, ...] = ()
    bytes: int = 0
    #: Replication slots that are dropped with it.
    slots: tuple[str, ...] = ()
    snapshot: str | None = None


@dataclass(frozen=True, kw_only=True)
class AcceptParts:
    """What the steps of an accept work with."""

    servers: Servers
    #: None where no repository is set.
    safety: SafetyTaker | None
    emit: Emit


def accept_runbook(parts: AcceptParts) -> Runbook[AcceptState]:
    """Return the steps that drop a kept database; from the drop on there is no way back."""
    drop = Drop(parts=parts)
    return Runbook(
        name=NAME,
        steps=(FindKept(parts=parts), SnapshotKept(parts=parts), drop),
        state_type=AcceptState,
    )


@dataclass(frozen=True, kw_only=True)
class FindKept(ReadingStep):
    """Find the database that the run has kept, and what would go with it."""

    name: ClassVar[str] = "find"

    parts: AcceptParts

    def explain(self, state: AcceptState) -> Explanation:
        """Name the run."""
        return Explanation(
            sentence=f"find the database that `{state.of_run}` replaced", commands=("psql --list",)
        )

    def do(self, state: AcceptState) -> Done[AcceptState]:
        """Find it; refuse where it could be neither snapshotted nor is to be discarded."""
        refuse_without_snapshot(self.parts, state)
        with self.parts.servers.maintenance() as maintenance:
            kept = find_kept(maintenance, target=state.target, run=state.of_run)
            facts = database_facts(maintenance, kept.name)
            slots = tuple(slot.name for slot in replication_slots(maintenance, kept.name))
        found = state.model_copy(
            update={
                "kept": DatabaseRef(name=kept.name, oid=kept.oid),
                "bytes": (facts.size_bytes or 0) if facts else 0,
                "slots": slots,
            }
        )
        return Done(found, f"`{kept.name}`")


@dataclass(frozen=True, kw_only=True)
class SnapshotKept:
    """Take a snapshot of the kept database: what is dropped can still be brought back."""

    name: ClassVar[str] = "snapshot"
    changes: ClassVar[bool] = True

    parts: AcceptParts

    def explain(self, state: AcceptState) -> Explanation:
        """Give the paper recipe."""
        if state.discard:
            return Explanation(sentence="take no snapshot, as `--discard` says")
        return Explanation(
            sentence="take a snapshot of the kept database",
            commands=(
                shell(
                    "pg_dump",
                    "--format=custom",
                    "--compress=9",
                    f"--dbname={state.kept.name if state.kept else state.target}",
                ),
            ),
        )

    def do(self, state: AcceptState) -> Done[AcceptState]:
        """Take it; nothing is dropped without."""
        if state.discard or self.parts.safety is None or state.kept is None:
            return Done(state, "none, as asked")
        if state.snapshot is not None:
            return Done(state, f"taken before: `{state.snapshot}`")
        with self.parts.servers.maintenance() as maintenance:
            if who_is(maintenance, state.kept.name) is None:
                raise DatabaseMissing(f"`{state.kept.name}` is not there any more")
            with readable(maintenance, state.kept.name):
                taken = self.parts.safety(state.kept.name, f"before {state.run}")
        return Done(state.model_copy(update={"snapshot": taken}), f"`{taken}`")

    def undo(self, state: AcceptState) -> AcceptState:
        """A snapshot that was taken stays."""
        return state


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Drop the kept database."""

    name: ClassVar[str] = "drop"
    changes: ClassVar[bool] = True

    parts: AcceptParts

    def explain(self, state: AcceptState) -> Explanation:
        """Give the command."""
        name = state.kept.name if state.kept else "…"
        return Explanation(
            sentence=f"drop database `{name}`", commands=(shell("dropdb", "--force", name),)
        )

    def do(self, state: AcceptState) -> Done[AcceptState]:
        """Drop it if it is still the one that was found."""
        if state.kept is not None:
            with self.parts.servers.maintenance() as maintenance:
                self._release(maintenance, state)
                drop_database(
                    maintenance,
                    state.kept.name,
                    expected_oid=state.kept.oid,
                    marker_run=state.of_run,
                )
        return Done(state, "dropped")

    def undo(self, state: AcceptState) -> AcceptState:
        """What is dropped stays dropped; its snapshot is there."""
        return state

    def _release(self, maintenance: Session, state: AcceptState) -> None:
        """Drop the subscriptions, which a database cannot be dropped with; their slots stay."""
        if state.kept is None or who_is(maintenance, state.kept.name) != state.kept.oid:
            return
        found = subscriptions(maintenance, state.kept.name)
        if not found:
            return
        with (
            readable(maintenance, state.kept.name),
            self.parts.servers.session(state.kept.name, "accept") as session,
        ):
            for subscription in found:
                name = quote_identifier(subscription.name)
                session.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
                session.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
                session.execute(f"DROP SUBSCRIPTION {name}")
                if subscription.slot:
                    self.parts.emit(
                        Warned(
                            message=f"subscription `{subscription.name}` is dropped; its slot "
                            f"`{subscription.slot}` stays on the publisher and keeps WAL there"
                        )
                    )


def refuse_without_snapshot(parts: AcceptParts, state: AcceptState) -> None:
    """Raise PrecheckRefused where what is dropped could not be snapshotted first, as is asked."""
    if parts.safety is None and not state.discard:
        raise PrecheckRefused(
            "no repository is set, so no snapshot of what is kept can be taken",
            hint=f"set `repository`, or: alexandria run accept {state.of_run} --discard",
        )
