"""Rollback of a restore in place: what it put aside takes its names back; what is there is kept.

All names change in one transaction, so it takes a moment, whatever the size; and it can be rolled
back itself.
"""

from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.errors import DatabaseMissing
from alexandria_backup.postgres.aside import OBJECTS, SCHEMA, kept_aside, tables_of
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified
from alexandria_backup.postgres.large_objects import objects_aside, objects_back, store_name
from alexandria_backup.postgres.put_aside import exchange
from alexandria_backup.postgres.restoring import (
    LockedPhase,
    note_lock,
    refuse_other_holder,
    release_lock,
    take_lock,
)
from alexandria_backup.postgres.server import role_facts, server_facts
from alexandria_backup.runbooks import in_place_check, prechecks, rights
from alexandria_backup.runbooks.description import journalled
from alexandria_backup.runbooks.differences import count_tables, differences
from alexandria_backup.runbooks.in_place import ForbidWrites, Open, holds, is_at, lock_of
from alexandria_backup.runbooks.kept import KeptAside, find_aside
from alexandria_backup.runbooks.restore_state import GivenUp
from alexandria_backup.runbooks.rollback import (
    RollbackParts,
    RollbackState,
    around,
    known_incarnations,
)
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, shell
from alexandria_backup.runbooks.switch import DatabaseRef
from alexandria_backup.runbooks.switch_application import (
    license_before,
    warn_of_the_platform,
)


def rollback_in_place_runbook(parts: RollbackParts) -> Runbook[RollbackState]:
    """Return the steps of a rollback to what was put aside in the database itself, in order."""
    fence: ForbidWrites[RollbackState] = ForbidWrites(
        application=parts.application, servers=parts.servers, patience_s=parts.fence_patience_s
    )
    opened: Open[RollbackState] = Open(
        servers=parts.servers, patience_s=parts.fence_patience_s, emit=parts.emit
    )
    exchange = (fence, Exchange(parts=parts), opened)
    return around(parts, FindAside(parts=parts), CheckExchange(parts=parts), exchange)


@dataclass(frozen=True, kw_only=True)
class FindAside(ReadingStep):
    """Find what was put aside, and say which rows the way back gives up."""

    name: ClassVar[str] = "find"

    parts: RollbackParts

    def explain(self, state: RollbackState) -> Explanation:
        """Say where it is looked for."""
        return Explanation(
            sentence=f"find what was put aside in `{state.target}`, and compare it with the rest",
            commands=(shell("psql", f"--dbname={state.target}", "-c", r"\dn+"),),
        )

    def do(self, state: RollbackState) -> Done[RollbackState]:
        """Find it by its markers, whatever its names."""
        servers = self.parts.servers
        with servers.session(state.target, "find") as session:
            kept = find_aside(session, run=state.of_run)
            facts = database_facts(session, state.target)
            if facts is None:
                raise DatabaseMissing(f"there is no database `{state.target}` to roll back")
            server = server_facts(session)
            given_up = self._compare(session, kept)
        live = DatabaseRef(name=facts.name, oid=facts.oid)
        found = state.model_copy(
            update={
                "of_run": kept.run,
                "live": live,
                "incoming": live,
                "facts": journalled(facts),
                "server": server.system_identifier,
                "given_up": given_up,
                "incarnations": known_incarnations(servers, state.target),
                "license": license_before(self.parts.application),
            }
        )
        names = ", ".join(f"`{thing.name}`" for thing in kept.things)
        return Done(found, f"{names}, kept by {kept.run}")

    def _compare(self, session: Session, kept: KeptAside) -> tuple[GivenUp, ...]:
        if not self.parts.compare:
            return ()
        then: dict[str, int | None] = {}
        for thing in kept.things:
            for table in tables_of(session, thing.name) if thing.kind == SCHEMA else ():
                name = quote_qualified(thing.name, table)
                rows = session.value(f"SELECT count(*) FROM ONLY {name}")  # noqa: S608 - quoted
                then[f"{thing.marker.of}.{table}"] = int(rows)
        return differences(count_tables(session), then)


@dataclass(frozen=True, kw_only=True)
class CheckExchange(ReadingStep):
    """Check what could stop it half-way, before the application is stopped."""

    name: ClassVar[str] = "check"

    parts: RollbackParts

    def explain(self, state: RollbackState) -> Explanation:  # noqa: ARG002 - the port's form
        """List what is checked."""
        return Explanation(
            sentence="check rights, sessions, prepared transactions and the platform",
            commands=("alexandria doctor",),
        )

    def do(self, state: RollbackState) -> Done[RollbackState]:
        """Raise PrecheckRefused, or a child of it, for the first thing that forbids it."""
        servers = self.parts.servers
        with servers.maintenance() as maintenance:
            prechecks.refuse_standby(server_facts(maintenance))
            prechecks.refuse_prepared_transactions(maintenance, state.target)
            rights.refuse_foreign_sessions(maintenance, state.target)
        with servers.session(state.target, "check") as session:
            refuse_other_holder(session, state.run)
            in_place_check.refuse_without_rights(session, role_facts(session), state.facts)
            back = find_aside(session, run=state.of_run).things
            stay = {thing.marker.of for thing in back if thing.marker.stays}
            in_place_check.refuse_what_stays(session, stay)
        warn_of_the_platform(self.parts.application, self.parts.emit)
        return Done(state, "nothing forbids it")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """Put aside what is there, and bring back what was put aside before, in one transaction."""

    name: ClassVar[str] = "exchange"
    changes: ClassVar[bool] = True

    parts: RollbackParts

    def explain(self, state: RollbackState) -> Explanation:
        """Give the statements for one schema."""
        before = (state.of_run or "…").rpartition("-")[2]
        aside = quote_identifier(f"public_alexandria_kept_{state.suffix}")
        back = quote_identifier(f"public_alexandria_kept_{before}")
        return Explanation(
            sentence=f"put aside what is in `{state.target}`, and bring back what `{state.of_run}` "
            "put aside, in one transaction",
            commands=(
                shell(
                    *("psql", f"--dbname={state.target}", "-c"),
                    f"begin; alter schema public rename to {aside}; "
                    f"alter schema {back} rename to public; commit",
                ),
            ),
        )

    def do(self, state: RollbackState) -> Done[RollbackState]:
        """Exchange, unless the lock says that it has happened."""
        of_run = state.of_run or ""
        with self.parts.servers.session(state.target, "exchange") as session:
            if not holds(session, state):
                refuse_other_holder(session, state.run)
                find_aside(session, run=of_run)
                with session.transaction():
                    take_lock(session, lock_of(state, "shadow", LockedPhase.OBJECTS_ASIDE))
            if is_at(session, state, "shadow", LockedPhase.OBJECTS_ASIDE):
                objects_aside(session, run=state.run, store=store_name(state.suffix))
                with session.transaction():
                    back = kept_aside(session, of_run)
                    exchange(session, back, run=state.run, role="kept", suffix=state.suffix)
                    note_lock(session, lock_of(state, "shadow", LockedPhase.OBJECTS_BACK))
            if is_at(session, state, "shadow", LockedPhase.OBJECTS_BACK):
                objects_back(session, _store(session, of_run))
                note_lock(session, lock_of(state, "shadow"))
            names = tuple(f"{thing.kind} {thing.name}" for thing in kept_aside(session, state.run))
        return Done(state.model_copy(update={"aside": names}), f"kept: {', '.join(names)}")

    def undo(self, state: RollbackState) -> RollbackState:
        """Exchange back, and give the lock up."""
        back = lock_of(state, "kept", LockedPhase.OBJECTS_BACK)
        with self.parts.servers.session(state.target, "exchange") as session:
            if not holds(session, state):
                return state
            if is_at(session, state, "shadow", LockedPhase.OBJECTS_ASIDE):
                # The names are as they were.
                note_lock(session, back)
            elif not is_at(session, state, "kept", LockedPhase.OBJECTS_BACK):
                self._exchange_back(session, state)
            objects_back(session, store_name(state.suffix))
            release_lock(session)
        return state

    def _exchange_back(self, session: Session, state: RollbackState) -> None:
        of_run = state.of_run or ""
        objects_aside(session, run=of_run, store=_store(session, of_run))
        with session.transaction():
            exchange(
                session,
                kept_aside(session, state.run),
                run=of_run,
                role="kept",
                suffix=of_run.rpartition("-")[2],
            )
            note_lock(session, lock_of(state, "kept", LockedPhase.OBJECTS_BACK))


def _store(session: Session, run: str) -> str:
    """Return the schema in which a run keeps large objects, or would."""
    found = (thing.name for thing in kept_aside(session, run) if thing.kind == OBJECTS)
    return next(found, store_name(run.rpartition("-")[2]))
