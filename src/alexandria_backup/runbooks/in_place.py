"""The two steps around a change of contents: let nobody write into the database, and open it again.

A restore into the live database itself, and its rollback, work between them. Each step reads from
the database what has happened: the lock and the comments of what was put aside are the truth.
"""

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from alexandria_backup.events import Emit, Note
from alexandria_backup.postgres.aside import kept_aside
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.fence import allow_writes, forbid_writes, writes_forbidden
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.large_objects import objects_aside, store_name
from alexandria_backup.postgres.marker import Marker, MarkerRole
from alexandria_backup.postgres.put_aside import exchange
from alexandria_backup.postgres.restoring import (
    LockedPhase,
    lock_holder,
    note_lock,
    release_lock,
    take_lock,
)
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.runbooks.switch import SwitchState
from alexandria_backup.runbooks.switch_application import Application
from alexandria_backup.runbooks.switch_databases import end_sessions_command

S = TypeVar("S", bound=SwitchState)


@dataclass(frozen=True, kw_only=True)
class ForbidWrites(Generic[S]):
    """Let nobody write into the live database but us, and end who is in it."""

    name: ClassVar[str] = "fence"
    changes: ClassVar[bool] = True

    application: Application
    servers: Servers
    patience_s: float

    def explain(self, state: S) -> Explanation:
        """Name the two statements that do it."""
        database = quote_identifier(state.target)
        return Explanation(
            sentence=f"let new sessions in `{state.target}` only read, and end those there are",
            commands=(
                shell(
                    "psql",
                    "-c",
                    f"alter database {database} set default_transaction_read_only to on",
                ),
                end_sessions_command(state.target),
            ),
        )

    def do(self, state: S) -> Done[S]:
        """Set it, and end sessions until none is left that was there before."""
        with self.servers.maintenance() as maintenance:
            forbid_writes(maintenance, state.target, patience=self.patience_s)
        if state.stopped is not None and state.stopped.stopped:
            self.application.platform.confirm_stopped(state.stopped)
        return Done(state, "whoever comes only reads")

    def undo(self, state: S) -> S:
        """Set what was set before."""
        with self.servers.session(state.target, "fence") as session:
            allow_writes(session, state.target, _before(state))
        return state


@dataclass(frozen=True, kw_only=True)
class Open(Generic[S]):
    """Let the database be written to again, and give the lock up: the commit point."""

    name: ClassVar[str] = "open"
    changes: ClassVar[bool] = True

    servers: Servers
    patience_s: float
    emit: Emit

    def explain(self, state: S) -> Explanation:
        """Name the statement that does it."""
        database = quote_identifier(state.target)
        return Explanation(
            sentence=f"let `{state.target}` be written to again; what was put aside is kept",
            commands=(
                shell(
                    "psql", "-c", f"alter database {database} reset default_transaction_read_only"
                ),
            ),
        )

    def do(self, state: S) -> Done[S]:
        """Open it, in one transaction."""
        with self.servers.session(state.target, "open") as session, session.transaction():
            allow_writes(session, state.target, _before(state))
            release_lock(session)
        return Done(state, "open")

    def undo(self, state: S) -> S:
        """Exchange back, where it was opened: whatever was written since is kept as well."""
        if self._is_opened(state):
            with self.servers.maintenance() as maintenance:
                forbid_writes(maintenance, state.target, patience=self.patience_s)
            with self.servers.session(state.target, "open") as session, session.transaction():
                take_lock(session, lock_of(state, "kept", LockedPhase.OBJECTS_ASIDE))
        with self.servers.session(state.target, "open") as session:
            if not is_at(session, state, "kept", LockedPhase.OBJECTS_ASIDE):
                return state
            suffix = f"{state.suffix}_undone"
            objects_aside(session, run=state.run, store=store_name(suffix))
            with session.transaction():
                back = kept_aside(session, state.run)
                exchange(session, back, run=state.run, role="kept", suffix=suffix)
                note_lock(session, lock_of(state, "kept", LockedPhase.OBJECTS_BACK))
        self.emit(
            Note(
                message="what had come in is kept, with all that was written to it; forward again: "
                f"alexandria rollback {state.run}"
            )
        )
        return state

    def _is_opened(self, state: S) -> bool:
        with self.servers.session(state.target, "open") as session:
            return lock_holder(session) is None and bool(kept_aside(session, state.run))


def lock_of(state: SwitchState, role: MarkerRole, phase: LockedPhase | None = None) -> Marker:
    """Return what stands in the lock while a run is in this phase."""
    return Marker(run=state.run, role=role, of=state.target, comment=phase)


def is_at(
    session: Session, state: SwitchState, role: MarkerRole, phase: LockedPhase | None
) -> bool:
    """Tell whether the run holds the lock, and is in this phase."""
    holder = lock_holder(session)
    return (
        holder is not None
        and holder.run == state.run
        and (holder.role, holder.comment) == (role, phase)
    )


def holds(session: Session, state: SwitchState) -> bool:
    """Tell whether the run holds the lock."""
    holder = lock_holder(session)
    return holder is not None and holder.run == state.run


def _before(state: SwitchState) -> str | None:
    return writes_forbidden(state.facts) if state.facts else None
