"""The step of a restore that creates what acts on the world, when nothing else moves any more."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from alexandria_backup.copying.load_archive import acting_entries, load_acting_entries
from alexandria_backup.errors import ClientToolFailed
from alexandria_backup.events import Warned
from alexandria_backup.postgres.activity import subscriptions
from alexandria_backup.postgres.attributes import set_attributes
from alexandria_backup.postgres.catalog import event_triggers
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.postgres.swap import name_of
from alexandria_backup.runbooks.chain_reader import declare_incarnation
from alexandria_backup.runbooks.restore_bound import bring_back_bound
from alexandria_backup.runbooks.restore_load import loading, read_entries
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.step import Done, Explanation


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Create the event triggers and subscriptions, which had to wait until nothing else moves."""

    name: ClassVar[str] = "finish"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Say what comes last."""
        file = self.parts.place.as_file(state.request.archive).file
        return Explanation(
            sentence="create event triggers and subscriptions; subscriptions stay disabled",
            commands=(f"pg_restore --use-list=… --dbname='{state.target}' {file}",),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Create what is not there yet; the incoming database is found by its OID."""
        if state.incoming is None:
            return Done(state, "nothing came in")
        entries = read_entries(self.parts, state)
        acting = acting_entries(entries)
        servers = self.parts.servers
        with servers.maintenance() as maintenance:
            database = name_of(maintenance, state.incoming.oid) or state.target
            if state.request.to_database is not None:
                # It is a database like any other from now on: the marker goes.
                set_attributes(maintenance, database, state.known_facts)
        state = self._declare(state, database)
        with servers.session(database, "finish") as session:
            major = server_facts(session).major
            load = loading(self.parts, state, database, entries, major)
            state = self._warned(state, bring_back_bound(session, load, state.active_jobs))
        if not acting:
            return Done(state, "none")
        with servers.session(database, "finish") as session:
            there = _acting_names(session, database)
            wanted = tuple(entry for entry in entries if entry.tag not in there)
        try:
            load_acting_entries(replace(load, entries=wanted))
        except ClientToolFailed as error:
            if error.lost_connection:
                raise
            # The data are there and proved: the application must not stay down for a trigger.
            warning = f"event triggers or subscriptions were not created: {error.message}"
            state = self._warned(state, (warning,))
        return Done(self._detach(state, database), f"{len(acting)} looked after")

    def undo(self, state: RestoreState) -> RestoreState:
        """They go with the database."""
        return state

    def _declare(self, state: RestoreState, database: str) -> RestoreState:
        """Let the audit chain's new incarnation be known: newer anchors are of rows given up."""
        source = state.known_source
        if source.chain is None:
            return state
        with self.parts.servers.session(database, "finish") as session:
            warning = declare_incarnation(
                session, run=state.run, source=source.snapshot, seen=source.chain
            )
        return self._warned(state, () if warning is None else (warning,))

    def _warned(self, state: RestoreState, warnings: Sequence[str]) -> RestoreState:
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        return state.model_copy(update={"warnings": (*state.warnings, *warnings)})

    def _detach(self, state: RestoreState, database: str) -> RestoreState:
        """Take the slot from each subscription: it belongs to the database that was replaced."""
        warnings = []
        with self.parts.servers.session(database, "finish") as session:
            for found in subscriptions(session, database):
                name = quote_identifier(found.name)
                session.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
                session.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
                warnings.append(
                    f"subscription `{found.name}` was restored disabled and without a slot; "
                    f"to enable it: ALTER SUBSCRIPTION {name} SET (slot_name = …), then ENABLE"
                )
        return self._warned(state, warnings)


def _acting_names(session: Session, database: str) -> set[str]:
    return {found.name for found in event_triggers(session)} | {
        found.name for found in subscriptions(session, database)
    }
