"""The step of a restore that checks whether all can work, before anything is changed."""

from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.errors import AuditBroken, ExitCode, PrecheckRefused, UsageError
from alexandria_backup.events import Warned
from alexandria_backup.postgres.aside import extensions
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.runbooks import in_place_archive, in_place_check, prechecks, rights
from alexandria_backup.runbooks.chain_reader import ChainSeen
from alexandria_backup.runbooks.restore_load import read_entries
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep
from alexandria_backup.runbooks.switch_application import warn_of_the_platform


@dataclass(frozen=True, kw_only=True)
class Check(ReadingStep):
    """Check everything that could stop the restore half-way, before anything is changed."""

    name: ClassVar[str] = "check"

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:  # noqa: ARG002 - the port's form
        """List what is checked."""
        return Explanation(
            sentence="check rights, roles, extensions, sessions, versions, space and the platform",
            commands=("alexandria doctor",),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise PrecheckRefused, or a child of it, for the first thing that forbids a restore."""
        source, request = state.source, state.request
        if source is None:
            raise UsageError("nothing was found to check")
        refuse_broken(source.chain, state)
        if state.works_in_place:
            state = self._in_place(state)
        with self.parts.servers.maintenance() as maintenance:
            self.parts.checks.refuse_mistakes(maintenance)
            warnings = prechecks.for_restore(
                maintenance,
                state,
                source,
                server_free_bytes=self.parts.server_free_bytes,
                server_reserve_bytes=self.parts.server_reserve_bytes,
            )
            missing = rights.missing_roles(maintenance, source, state.facts)
            self.parts.tools(max(server_facts(maintenance).major, source.pg_restore))
        if request.to_database is None and not state.works_in_place:
            self._refuse_other_in_place(state)
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        if request.to_database is None:
            warn_of_the_platform(self.parts.application, self.parts.emit)
        if request.stop_first and not self.parts.application.platform.managed:
            raise UsageError(
                "`--stop-first` needs something to stop the application with",
                hint="set `[application] stop_command` and `start_command`",
            )
        return Done(
            state.model_copy(
                update={
                    "warnings": (*state.warnings, *warnings),
                    "roles_to_create": missing if request.create_roles else (),
                }
            ),
            "nothing forbids it",
        )

    def _in_place(self, state: RestoreState) -> RestoreState:
        """Check what a restore into the live database needs, and note what it will make there."""
        if self.parts.safety is None:
            raise PrecheckRefused(
                "a restore in place needs a safety snapshot, and no repository is set",
                hint="set `repository`",
            )
        entries = read_entries(self.parts, state)
        with self.parts.servers.session(state.target, "check") as session:
            in_place_check.refuse_unfit(session, state, state.known_source, entries)
            there = extensions(session)
        return state.model_copy(
            update={
                "brought": in_place_archive.brought(entries),
                "extensions_before": tuple(sorted(there)),
            }
        )

    def _refuse_other_in_place(self, state: RestoreState) -> None:
        servers = self.parts.servers
        with servers.maintenance() as maintenance:
            open_to_us = servers.accepts_connections(maintenance, state.target)
        if open_to_us:
            with servers.session(state.target, "check") as session:
                refuse_other_holder(session, state.run)


def refuse_broken(chain: ChainSeen | None, state: RestoreState) -> None:
    """Raise AuditBroken where the snapshot's audit chain is broken and nobody has accepted that."""
    broken = chain is not None and chain.exit_code is ExitCode.AUDIT_BROKEN
    if chain is not None and broken and not state.request.accept_chain:
        raise AuditBroken(
            f"the audit chain in `{state.known_source.snapshot}` is broken: {chain.summary}",
            hint="choose an older snapshot, or add `--accept-chain`",
        )
