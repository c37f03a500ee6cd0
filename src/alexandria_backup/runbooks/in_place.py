"""The steps of a restore into the live database itself, where no other one may be created.

What is there is put aside under other names, in one transaction; what is loaded takes its place.
From then on the application is down, until the load is proved and the database is opened: the
commit point. Each step reads from the database what has happened: the lock and the comments of what
was put aside are the truth.
"""

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from alexandria_backup.errors import UsageError
from alexandria_backup.events import Emit, Note
from alexandria_backup.postgres.aside import extensions, kept_aside, schemas
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.fence import (
    allow_writes,
    end_sessions,
    forbid_writes,
    writes_forbidden,
)
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal
from alexandria_backup.postgres.marker import Marker, MarkerRole
from alexandria_backup.postgres.put_aside import (
    PUBLIC,
    drop_aside,
    exchange,
    make_public,
    put_aside,
)
from alexandria_backup.postgres.restoring import (
    lock_holder,
    note_lock,
    refuse_other_holder,
    release_lock,
    take_lock,
)
from alexandria_backup.postgres.shadow import kept_name
from alexandria_backup.runbooks.in_place_check import refuse_what_stays, staying
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.runbooks.switch import SwitchState
from alexandria_backup.runbooks.switch_application import Application

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
        database, name = quote_identifier(state.target), quote_literal(state.target)
        return Explanation(
            sentence=f"let new sessions in `{state.target}` only read, and end those there are",
            commands=(
                shell(
                    "psql",
                    "-c",
                    f"alter database {database} set default_transaction_read_only to on",
                ),
                shell(
                    "psql",
                    "-c",
                    "select pg_terminate_backend(pid) from pg_stat_activity "  # noqa: S608 - shown
                    f"where datname = {name}",
                ),
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
class PutAside:
    """Put aside what is in the live database: the lock, and every name, in one transaction."""

    name: ClassVar[str] = "put-aside"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Give the statement for one schema."""
        kept = quote_identifier(kept_name(PUBLIC, state.suffix))
        return Explanation(
            sentence=f"put aside all that is in `{state.target}`, under names that end with "
            f"`{state.suffix}`, in one transaction; from here on the application is down for the "
            "whole load",
            commands=(
                shell(
                    *("psql", f"--dbname={state.target}", "-c"),
                    f"alter schema public rename to {kept}",
                ),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Put it aside, unless the lock says that it has happened."""
        if state.live is None:
            raise UsageError("there is no live database to restore in place")
        with self.parts.servers.session(state.target, "put aside") as session:
            if not _holds(session, state):
                self._put_aside(session, state)
            aside = kept_aside(session, state.run)
            self._make_room(session, state)
        names = tuple(f"{thing.kind} {thing.name}" for thing in aside)
        found = state.model_copy(update={"incoming": state.live, "aside": names})
        return Done(found, f"{len(names)} put aside: {', '.join(names)}")

    def undo(self, state: RestoreState) -> RestoreState:
        """Bring it back, drop what was loaded, and give the lock up at the end."""
        if not self._end_others(state):
            return state
        with self.parts.servers.session(state.target, "put aside") as session:
            drop_aside(session, run=state.run, role="shadow")
            holder = lock_holder(session)
            if holder is not None and holder.role == "shadow":
                with session.transaction():
                    exchange(
                        session,
                        kept_aside(session, state.run),
                        run=state.run,
                        role="shadow",
                        suffix=_dropped(state),
                        only=state.brought,
                    )
                    note_lock(session, _marker(state, "kept"))
            drop_aside(session, run=state.run, role="shadow")
            self._drop_new_extensions(session, state)
            release_lock(session)
        return state

    def clear(self, state: RestoreState) -> None:
        """Drop what was loaded, if anything was; what was put aside stays there."""
        if not self._end_others(state):
            return
        with self.parts.servers.session(state.target, "put aside") as session:
            drop_aside(session, run=state.run, role="shadow")
            kept = kept_aside(session, state.run)
            with session.transaction():
                put_aside(
                    session,
                    run=state.run,
                    role="shadow",
                    suffix=_dropped(state),
                    staying={thing.marker.of for thing in kept if thing.marker.stays},
                    only=state.brought,
                )
            drop_aside(session, run=state.run, role="shadow")

    def _put_aside(self, session: Session, state: RestoreState) -> None:
        refuse_other_holder(session, state.run)
        with session.transaction():
            stay = staying(session, state.known_source.extensions)
            # Much may have happened since the check.
            refuse_what_stays(session, stay)
            take_lock(session, _marker(state, "shadow"))
            put_aside(
                session,
                run=state.run,
                role="kept",
                suffix=state.suffix,
                staying=stay,
            )

    def _make_room(self, session: Session, state: RestoreState) -> None:
        """A new database has a schema `public`, and the archive may rely on it."""
        there = {schema.name for schema in schemas(session)}
        if PUBLIC in state.brought and PUBLIC not in there:
            with session.transaction():
                make_public(session)

    def _end_others(self, state: RestoreState) -> bool:
        """End all sessions where the run holds the lock: a reader, or a load that was killed.

        Returns whether it does.
        """
        with self.parts.servers.session(state.target, "put aside") as session:
            if not _holds(session, state):
                return False
        with self.parts.servers.maintenance() as maintenance:
            end_sessions(maintenance, state.target, patience=self.parts.fence_patience_s)
        return True

    def _drop_new_extensions(self, session: Session, state: RestoreState) -> None:
        new = set(state.known_source.extensions) & extensions(session).keys()
        for name in sorted(new - set(state.extensions_before)):
            session.execute(f"DROP EXTENSION IF EXISTS {quote_identifier(name)}")


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
        with self.servers.session(state.target, "open") as session:
            kept = kept_aside(session, state.run)
            if lock_holder(session) is not None or not kept:
                return state
        with self.servers.maintenance() as maintenance:
            forbid_writes(maintenance, state.target, patience=self.patience_s)
        with self.servers.session(state.target, "open") as session, session.transaction():
            take_lock(session, _marker(state, "kept"))
            exchange(session, kept, run=state.run, role="kept", suffix=f"{state.suffix}_undone")
        self.emit(
            Note(
                message="what had come in is kept, with all that was written to it; forward again: "
                f"alexandria rollback {state.run}"
            )
        )
        return state


def _holds(session: Session, state: SwitchState) -> bool:
    holder = lock_holder(session)
    return holder is not None and holder.run == state.run


def _marker(state: SwitchState, role: MarkerRole) -> Marker:
    return Marker(run=state.run, role=role, of=state.target)


def _dropped(state: SwitchState) -> str:
    return f"{state.suffix}_dropped"


def _before(state: SwitchState) -> str | None:
    return writes_forbidden(state.facts) if state.facts else None
