"""Rollback: swap the database that a restore replaced back in, and keep the one in use now.

It is the swap backwards, and so it can be rolled back itself: forward again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.audit.incarnation import Incarnation, incarnations
from alexandria_backup.errors import DatabaseMissing
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres.activity import subscriptions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.postgres.server import role_facts, server_facts
from alexandria_backup.postgres.shadow import kept_name
from alexandria_backup.runbooks import prechecks, rights
from alexandria_backup.runbooks.application_checks import ApplicationChecks
from alexandria_backup.runbooks.chain_reader import declare_incarnation
from alexandria_backup.runbooks.check_queries import CheckQueries
from alexandria_backup.runbooks.description import journalled
from alexandria_backup.runbooks.differences import count_tables, differences
from alexandria_backup.runbooks.kept import find_kept, readable
from alexandria_backup.runbooks.restore_state import GivenUp
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook, Step
from alexandria_backup.runbooks.switch import DatabaseRef, SwitchState, usable
from alexandria_backup.runbooks.switch_application import (
    Application,
    StartApplication,
    StopWriting,
    license_before,
    warn_of_the_platform,
)
from alexandria_backup.runbooks.switch_databases import Fence, Swap

NAME = "rollback"


class RollbackState(SwitchState):
    """The state of a rollback."""

    #: The run that kept the database; None means the newest.
    of_run: str | None = None
    #: What the database that goes knows of incarnations of the audit chain.
    incarnations: tuple[Incarnation, ...] = ()
    given_up: tuple[GivenUp, ...] = ()
    #: What was kept is in the database itself.
    in_place: bool = False

    @property
    def works_in_place(self) -> bool:
        """Whether the contents of the live database itself are exchanged."""
        return self.in_place


@dataclass(frozen=True, kw_only=True)
class RollbackParts:
    """What the steps of a rollback work with."""

    servers: Servers
    application: Application
    fence_patience_s: float
    #: Those of `[application] checks`.
    checks: CheckQueries
    #: Count the rows of both databases; for that the kept one is opened for a moment.
    compare: bool
    emit: Emit


def rollback_runbook(parts: RollbackParts) -> Runbook[RollbackState]:
    """Return the steps of a rollback to a database that was kept, in order."""
    swap: Swap[RollbackState] = Swap(
        servers=parts.servers, patience_s=parts.fence_patience_s, emit=parts.emit
    )
    fence: Fence[RollbackState] = Fence(
        application=parts.application, servers=parts.servers, patience_s=parts.fence_patience_s
    )
    return around(parts, FindKept(parts=parts), CheckSwitch(parts=parts), (fence, swap))


def around(
    parts: RollbackParts,
    find: Step[RollbackState],
    check: Step[RollbackState],
    exchange: Sequence[Step[RollbackState]],
) -> Runbook[RollbackState]:
    """Return a rollback with these steps; the last one of the `exchange` is the commit point."""
    checks = ApplicationChecks(servers=parts.servers, checks=parts.checks)
    return Runbook(
        name=NAME,
        steps=(
            find,
            check,
            StopWriting(application=parts.application, checks=checks, emit=parts.emit),
            *exchange,
            DeclareIncarnation(parts=parts),
            StartApplication(
                application=parts.application,
                servers=parts.servers,
                checks=checks,
                emit=parts.emit,
            ),
        ),
        state_type=RollbackState,
        commit=exchange[-1].name,
        replaces_live=True,
    )


@dataclass(frozen=True, kw_only=True)
class FindKept(ReadingStep):
    """Find the kept database and say which rows the way back gives up."""

    name: ClassVar[str] = "find"

    parts: RollbackParts

    def explain(self, state: RollbackState) -> Explanation:
        """Name the database whose predecessor is looked for."""
        return Explanation(
            sentence=f"find the database that `{state.target}` replaced, and compare both",
            commands=("psql --list",),
        )

    def do(self, state: RollbackState) -> Done[RollbackState]:
        """Find it by its marker, whatever its name."""
        servers = self.parts.servers
        with servers.maintenance() as maintenance:
            kept = find_kept(maintenance, target=state.target, run=state.of_run)
            live = database_facts(maintenance, state.target)
            facts = database_facts(maintenance, kept.name)
            if live is None or facts is None:
                raise DatabaseMissing(
                    f"there is no database `{state.target}` to roll back",
                    hint=f"alexandria restore latest   # `{kept.name}` is still kept",
                )
            server = server_facts(maintenance)
            given_up = self._compare(maintenance, kept.name, state.target)
            warnings = tuple(
                f"subscription `{found.name}` of `{kept.name}` is disabled; to enable it after the "
                f"rollback: ALTER SUBSCRIPTION {quote_identifier(found.name)} ENABLE"
                for found in subscriptions(maintenance, kept.name)
                if not found.enabled
            )
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        found = state.model_copy(
            update={
                "of_run": kept.marker.run,
                "live": DatabaseRef(name=live.name, oid=live.oid),
                "incoming": DatabaseRef(name=kept.name, oid=kept.oid),
                "kept_name": kept_name(state.target, state.run.rpartition("-")[2]),
                "facts": journalled(usable(facts, kept.marker.comment)),
                "incoming_marker": kept.marker,
                "server": server.system_identifier,
                "warnings": (*state.warnings, *warnings),
                "given_up": given_up,
                "incarnations": known_incarnations(self.parts.servers, state.target),
                "license": license_before(self.parts.application),
            }
        )
        return Done(found, f"`{kept.name}`, kept by {kept.marker.run}")

    def _compare(self, maintenance: Session, kept: str, target: str) -> tuple[GivenUp, ...]:
        if not self.parts.compare:
            return ()
        servers = self.parts.servers
        with servers.session(target, "find") as session:
            now = count_tables(session)
        with readable(maintenance, kept), servers.session(kept, "find") as session:
            then = count_tables(session)
        return differences(now, {label: item.rows for label, item in then.items()})


@dataclass(frozen=True, kw_only=True)
class DeclareIncarnation:
    """Let the database that came back know of the incarnations that it has not seen itself.

    Anchors that were taken of the other one meanwhile are then of rows given up, and no fork.
    """

    name: ClassVar[str] = "declare-incarnation"
    changes: ClassVar[bool] = True

    parts: RollbackParts

    def explain(self, state: RollbackState) -> Explanation:
        """Say where it is written."""
        return Explanation(
            sentence=f"declare in `{state.target}` the incarnations of its audit chain",
            commands=("INSERT INTO alexandria_backup.incarnations …",),
        )

    def do(self, state: RollbackState) -> Done[RollbackState]:
        """Write it, where restores have declared anything at all."""
        if not state.incarnations:
            return Done(state, "nothing was declared")
        with self.parts.servers.session(state.target, "finish") as session:
            warning = declare_incarnation(
                session,
                run=state.run,
                source=state.incoming.name if state.incoming else state.target,
                seen=None,
                others=state.incarnations,
            )
        if warning is None:
            return Done(state, "declared")
        self.parts.emit(Warned(message=warning))
        return Done(
            state.model_copy(update={"warnings": (*state.warnings, warning)}), "not declared"
        )

    def undo(self, state: RollbackState) -> RollbackState:
        """Leave it: it is true of both databases."""
        return state


@dataclass(frozen=True, kw_only=True)
class CheckSwitch(ReadingStep):
    """Check what could stop a swap half-way, before the application is stopped."""

    name: ClassVar[str] = "check"

    parts: RollbackParts

    def explain(self, state: RollbackState) -> Explanation:  # noqa: ARG002 - the port's form
        """List what is checked."""
        return Explanation(
            sentence="check rights, sessions, prepared transactions and the platform",
            commands=("alexandria doctor",),
        )

    def do(self, state: RollbackState) -> Done[RollbackState]:
        """Raise PrecheckRefused, or a child of it, for the first thing that forbids a swap."""
        with self.parts.servers.maintenance() as maintenance:
            prechecks.refuse_standby(server_facts(maintenance))
            rights.refuse_missing_rights(role_facts(maintenance), maintenance, state.target)
            prechecks.refuse_prepared_transactions(maintenance, state.target)
            rights.refuse_foreign_sessions(maintenance, state.target)
        with self.parts.servers.session(state.target, "check") as session:
            refuse_other_holder(session, state.run)
        warn_of_the_platform(self.parts.application, self.parts.emit)
        return Done(state, "nothing forbids it")


def known_incarnations(servers: Servers, target: str) -> tuple[Incarnation, ...]:
    """Return what a database knows of incarnations of the audit chain."""
    with servers.session(target, "find") as session:
        return tuple(incarnations(session).incarnations)
