"""The two steps of a switch that touch databases: fence them, exchange them by name.

The swap is the commit point. Each step reads from the server whether it has happened: names and
OIDs are the truth.
"""

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from alexandria_backup.errors import (
    ProofFailed,
)
from alexandria_backup.events import Emit, Note
from alexandria_backup.postgres.activity import subscriptions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.fence import fence, lift
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal
from alexandria_backup.postgres.shadow import Marker, kept_name, shadow_name
from alexandria_backup.postgres.swap import name_of, swap, who_is
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.runbooks.switch import DatabaseRef, SwitchState, usable
from alexandria_backup.runbooks.switch_application import Application

S = TypeVar("S", bound=SwitchState)


@dataclass(frozen=True, kw_only=True)
class Fence(Generic[S]):
    """Let nobody into the live database and end who is in it: the lock that really holds."""

    name: ClassVar[str] = "fence"
    changes: ClassVar[bool] = True

    application: Application
    servers: Servers
    patience_s: float

    def explain(self, state: S) -> Explanation:
        """Name the two statements that do it."""
        if state.live is None:
            return Explanation(sentence=f"nothing: there is no `{state.target}` yet")
        database = quote_identifier(state.target)
        return Explanation(
            sentence=f"refuse connections to `{state.target}` and end its sessions",
            commands=(
                shell("psql", "-c", f"alter database {database} allow_connections false"),
                end_sessions_command(state.target),
            ),
        )

    def do(self, state: S) -> Done[S]:
        """Disable subscriptions, refuse connections, end sessions until there are none."""
        if state.live is None:
            return Done(state, "no live database")
        with self.servers.maintenance() as maintenance:
            name = name_of(maintenance, state.live.oid)
            if name != state.target:
                return Done(state, "already swapped")
            enabled = {s.name for s in subscriptions(maintenance, name) if s.enabled}
            if enabled and self.servers.accepts_connections(maintenance, name):
                with self.servers.session(name) as live:
                    for one in sorted(enabled):
                        live.execute(f"alter subscription {quote_identifier(one)} disable")
            fence(maintenance, name, patience=self.patience_s)
        if state.stopped is not None and state.stopped.stopped:
            # Long may have passed since the stop; nobody swaps under an application that runs.
            self.application.platform.confirm_stopped(state.stopped)
        found = tuple(sorted({*state.subscriptions, *enabled}))
        return Done(state.model_copy(update={"subscriptions": found}), "no session left")

    def undo(self, state: S) -> S:
        """Accept connections again and enable the subscriptions that were."""
        if state.live is None:
            return state
        with self.servers.maintenance() as maintenance:
            name = name_of(maintenance, state.live.oid)
            if name is None:
                raise ProofFailed(
                    f"the live database (OID {state.live.oid}) is not there any more",
                    hint=f"alexandria run show {state.run}",
                )
            lift(maintenance, name)
        if state.subscriptions:
            with self.servers.session(name) as live:
                for subscription in state.subscriptions:
                    live.execute(f"alter subscription {quote_identifier(subscription)} enable")
        return state


@dataclass(frozen=True, kw_only=True)
class Swap(Generic[S]):
    """Exchange the databases by name, in one transaction: the commit point."""

    name: ClassVar[str] = "swap"
    changes: ClassVar[bool] = True

    servers: Servers
    patience_s: float
    emit: Emit

    def explain(self, state: S) -> Explanation:
        """Name the two renames."""
        incoming = state.incoming.name if state.incoming else shadow_name(state.target)
        live, kept = quote_identifier(state.target), quote_identifier(state.kept_name)
        aside, put_aside = "", ""
        if state.live is not None:
            aside = f"`{state.target}` to `{state.kept_name}` and "
            put_aside = f"alter database {live} rename to {kept}; "
        return Explanation(
            sentence=f"rename {aside}`{incoming}` to `{state.target}`, in one transaction",
            commands=(
                shell(
                    "psql",
                    "-c",
                    f"begin; {put_aside}"
                    f"alter database {quote_identifier(incoming)} rename to {live}; commit",
                ),
            ),
        )

    def do(self, state: S) -> Done[S]:
        """Swap, unless the server says that it has happened."""
        incoming, facts = _ready(state)
        with self.servers.maintenance() as maintenance:
            if who_is(maintenance, state.target) == incoming.oid:
                return Done(state, "already swapped")
            name = name_of(maintenance, incoming.oid)
            if name is None:
                raise ProofFailed(
                    f"database `{incoming.name}` (OID {incoming.oid}) is not there any more",
                    hint=f"alexandria run abort {state.run}",
                )
            live = database_facts(maintenance, state.target) if state.live else None
            swap(
                maintenance,
                live=state.target,
                live_oid=state.live.oid if state.live else None,
                incoming=name,
                incoming_oid=incoming.oid,
                kept=state.kept_name,
                kept_marker=Marker(
                    run=state.run,
                    role="kept",
                    of=state.target,
                    comment=live.comment if live else None,
                ),
                facts=_now(maintenance, state, name, live) or facts,
            )
        return Done(state, f"`{state.target}` is the new database")

    def undo(self, state: S) -> S:
        """Swap back, where the swap has happened.

        The database that had come in is kept, under a name of its own: whatever was written to it
        since is not ours to drop.
        """
        if state.incoming is None:
            return state
        incoming, facts = _ready(state)
        with self.servers.maintenance() as maintenance:
            now = database_facts(maintenance, state.target)
            if now is None or now.oid != incoming.oid:
                return state
            back = database_facts(maintenance, state.kept_name) if state.live else None
            marker = Marker.decode(back.comment) if back else None
            fence(maintenance, state.target, patience=self.patience_s)
            aside = self._undone_name(state, incoming)
            swap(
                maintenance,
                live=state.target,
                live_oid=incoming.oid,
                incoming=state.kept_name if state.live else None,
                incoming_oid=state.live.oid if state.live else None,
                kept=aside,
                kept_marker=state.incoming_marker
                or Marker(run=state.run, role="kept", of=state.target, comment=now.comment),
                facts=usable(back, marker.comment if marker else None) if back else facts,
            )
        self.emit(
            Note(
                message=f"the database that had come in is kept as `{aside}`, with all that was "
                f"written to it; forward again: alexandria rollback {state.run}"
            )
        )
        return state

    def _undone_name(self, state: S, incoming: DatabaseRef) -> str:
        if state.incoming_marker is not None:
            return incoming.name
        return kept_name(state.target, f"{state.run.rpartition('-')[2]}_undone")


def _now(
    maintenance: Session, state: SwitchState, incoming: str, live: DatabaseFacts | None
) -> DatabaseFacts | None:
    """Return what the incoming database is to have, as it is now: somebody may have changed it.

    None where only the snapshot knows, as on a server that lost the database.
    """
    if state.inherits and live is not None:
        return usable(live, live.comment)
    if state.incoming_marker is not None:
        own = database_facts(maintenance, incoming)
        return usable(own, state.incoming_marker.comment) if own else None
    return None


def _ready(state: SwitchState) -> tuple[DatabaseRef, DatabaseFacts]:
    if state.incoming is None or state.facts is None:
        raise ProofFailed(
            "there is no database to swap in", hint=f"alexandria run abort {state.run}"
        )
    return state.incoming, state.facts


def end_sessions_command(database: str) -> str:
    """Return what a person would type to end the sessions of a database."""
    return shell(
        *("psql", "-c"),
        "select pg_terminate_backend(pid) from pg_stat_activity "  # noqa: S608 - to print
        f"where datname = {quote_literal(database)}",
    )
