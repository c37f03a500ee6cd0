"""The step of a restore in place that puts aside what is there, and brings it back.

What is loaded takes its place. From then on the application is down, until the load is proved and
the database is opened: the commit point.
"""

from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.aside import extensions, kept_aside, schemas
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.fence import end_sessions
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.large_objects import (
    drop_objects,
    objects_aside,
    objects_back,
    store_name,
)
from alexandria_backup.postgres.put_aside import (
    PUBLIC,
    drop_aside,
    exchange,
    make_public,
    put_aside,
)
from alexandria_backup.postgres.restoring import (
    LockedPhase,
    note_lock,
    refuse_other_holder,
    release_lock,
    take_lock,
)
from alexandria_backup.postgres.shadow import kept_name
from alexandria_backup.runbooks.in_place import holds, is_at, lock_of
from alexandria_backup.runbooks.in_place_check import refuse_what_stays, staying
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.step import Done, Explanation, shell


@dataclass(frozen=True, kw_only=True)
class PutAside:
    """Put aside what is in the live database: large objects, then every name in one transaction."""

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
            if not holds(session, state):
                self._lock(session, state)
            if is_at(session, state, "shadow", LockedPhase.OBJECTS_ASIDE):
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
        back = lock_of(state, "kept", LockedPhase.OBJECTS_BACK)
        with self.parts.servers.session(state.target, "put aside") as session:
            drop_aside(session, run=state.run, role="shadow")
            if is_at(session, state, "shadow", LockedPhase.OBJECTS_ASIDE):
                # The names are as they were.
                note_lock(session, back)
            elif is_at(session, state, "shadow", None):
                self._exchange_back(session, state)
            if is_at(session, state, "kept", LockedPhase.OBJECTS_DROPPED):
                drop_objects(session)
                note_lock(session, back)
            objects_back(session, store_name(state.suffix))
            drop_aside(session, run=state.run, role="shadow")
            self._drop_new_extensions(session, state)
            release_lock(session)
        return state

    def clear(self, state: RestoreState) -> None:
        """Drop what was loaded, if anything was; what was put aside stays there."""
        if not self._end_others(state):
            return
        with self.parts.servers.session(state.target, "put aside") as session:
            if not is_at(session, state, "shadow", None):
                return
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
            drop_objects(session)

    def _lock(self, session: Session, state: RestoreState) -> None:
        refuse_other_holder(session, state.run)
        # Much may have happened since the check.
        refuse_what_stays(session, staying(session, state.known_source.extensions))
        with session.transaction():
            take_lock(session, lock_of(state, "shadow", LockedPhase.OBJECTS_ASIDE))

    def _put_aside(self, session: Session, state: RestoreState) -> None:
        objects_aside(session, run=state.run, store=store_name(state.suffix))
        with session.transaction():
            put_aside(
                session,
                run=state.run,
                role="kept",
                suffix=state.suffix,
                staying=staying(session, state.known_source.extensions),
            )
            note_lock(session, lock_of(state, "shadow"))

    def _exchange_back(self, session: Session, state: RestoreState) -> None:
        with session.transaction():
            exchange(
                session,
                kept_aside(session, state.run),
                run=state.run,
                role="shadow",
                suffix=_dropped(state),
                only=state.brought,
            )
            note_lock(session, lock_of(state, "kept", LockedPhase.OBJECTS_DROPPED))

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
            if not holds(session, state):
                return False
        with self.parts.servers.maintenance() as maintenance:
            end_sessions(maintenance, state.target, patience=self.parts.fence_patience_s)
        return True

    def _drop_new_extensions(self, session: Session, state: RestoreState) -> None:
        new = set(state.known_source.extensions) & extensions(session).keys()
        for name in sorted(new - set(state.extensions_before)):
            session.execute(f"DROP EXTENSION IF EXISTS {quote_identifier(name)}")


def _dropped(state: RestoreState) -> str:
    return f"{state.suffix}_dropped"
