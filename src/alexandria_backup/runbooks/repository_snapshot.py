"""Snapshot into a repository: read what has changed, take over the rest, commit, in this order.

The manifest is written last and makes it a snapshot. What was stored by an attempt that did not get
so far is written down as partials, and the next one reuses it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final

from alexandria_backup.copying.base_archive import dump_role_statements
from alexandria_backup.copying.copy_request import CopiedDatabase, CopyRequest
from alexandria_backup.copying.plan import Framing
from alexandria_backup.copying.storing import OpenShelf
from alexandria_backup.copying.take_snapshot import copy_database
from alexandria_backup.copying.takeover import Reference
from alexandria_backup.errors import (
    ClientToolFailed,
    ClientToolsMissing,
    SnapshotMissing,
)
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.marker_rows import SCHEMA, create_markers, has_markers
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.repository.layout import new_snapshot_id
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import (
    StoredPart,
)
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.writing import SnapshotWriting, writing
from alexandria_backup.runbooks import prechecks_source
from alexandria_backup.runbooks.anchors import may_be_appended
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.description import Occasion, describe_copied
from alexandria_backup.runbooks.repository_snapshot_state import RepositorySnapshotState
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.snapshot_chain import ChainLook
from alexandria_backup.runbooks.snapshot_harvest import Harvest
from alexandria_backup.runbooks.snapshot_outcome import said, told
from alexandria_backup.runbooks.snapshot_reuse import Objections, known_parts, newest_reference
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, Runbook

NAME: Final = "repository-snapshot"


@dataclass(frozen=True, kw_only=True)
class RepositorySnapshotParts:
    """What the steps work with."""

    servers: Servers
    repository: Repository
    tools: Callable[[int], ClientTools]
    chain: ChainReader
    #: Workers at once.
    jobs: int
    #: Makes what opens a shelf in each worker, given the parts that are known to be stored.
    shelves: Callable[[Sequence[StoredPart]], OpenShelf]
    framing: Framing
    #: Share of what is taken over that is read again, from 0 to 1.
    reread_share: float
    emit: Emit


def repository_snapshot_runbook(
    parts: RepositorySnapshotParts,
) -> Runbook[RepositorySnapshotState]:
    """Return the steps, in order."""
    return Runbook(
        name=NAME,
        steps=(CheckSource(parts=parts), CopyOut(parts=parts)),
        state_type=RepositorySnapshotState,
    )


@dataclass(frozen=True, kw_only=True)
class CheckSource(ReadingStep):
    """Check that everything can be read and written; choose name and reference."""

    name: ClassVar[str] = "check"

    parts: RepositorySnapshotParts

    def explain(self, state: RepositorySnapshotState) -> Explanation:
        """List what is checked."""
        return Explanation(
            sentence=f"check that `{state.database}` can be read and `{state.store}` written",
            commands=("alexandria doctor", "alexandria repository info"),
        )

    def do(self, state: RepositorySnapshotState) -> Done[RepositorySnapshotState]:
        """Raise RightsMissing, ClientToolsMissing or WrongKey before anything is written."""
        self.parts.repository.require_writable()
        with self.parts.servers.session(state.database, "snapshot") as session:
            server = server_facts(session)
            self.parts.tools(server.major)
            refuse_other_holder(session, state.run)
            prechecks_source.refuse_nameless(session, state.database)
            prechecks_source.refuse_unreadable(session, state.database)
            facts = database_facts(session, state.database)
            marked = has_markers(session)
        reference = None
        if not state.full and facts is not None:
            reference = newest_reference(
                self.parts.repository, application=state.application, database_oid=facts.oid
            )
        warning = _clock_went_back(reference, server.now)
        if warning is not None:
            self.parts.emit(warning)
        if not marked and state.own_schema is None and not server.in_recovery:
            self.parts.emit(
                Note(
                    message=f"everything is read, as schema `{SCHEMA}` is not in "
                    f"`{state.database}`: `alexandria snapshot create --yes` makes it"
                )
            )
        found = state.model_copy(
            update={
                "snapshot": state.snapshot or new_snapshot_id(state.application, server.now),
                "created": state.created or server.now,
                "reference": reference.snapshot if reference else None,
                "warnings": (*state.warnings, *((warning.message,) if warning else ())),
            }
        )
        compared = f"compared with `{reference.snapshot}`" if reference else "everything is read"
        return Done(found, f"`{found.snapshot}`; {compared}")


@dataclass(frozen=True, kw_only=True)
class CopyOut:
    """Copy the database out, and commit what was copied with a manifest."""

    name: ClassVar[str] = "copy-out"
    changes: ClassVar[bool] = True

    parts: RepositorySnapshotParts

    def explain(self, state: RepositorySnapshotState) -> Explanation:
        """Say what the paper recipe would do."""
        since = f"what has changed in `{state.database}` since `{state.reference}`"
        what = since if state.reference else f"all of `{state.database}`"
        return Explanation(
            sentence=f"copy {what} into `{state.store}`",
            commands=(f"pg_dump --format=custom --compress=9 --dbname={state.database}",),
        )

    def do(self, state: RepositorySnapshotState) -> Done[RepositorySnapshotState]:
        """Do it; everything is read again where an earlier attempt did not commit."""
        parts, repository = self.parts, self.parts.repository
        if _is_committed(repository, state):
            return Done(state, f"`{state.snapshot}` is there already")
        self._make_schema(state)
        with writing(repository, state.run) as work:
            harvest = Harvest(work)
            try:
                manifest, copied = self._copy(state, work, harvest)
                committed = work.commit(manifest)
            except BaseException:
                harvest.write_quietly()
                raise
        for warning in committed.warnings:
            parts.emit(Warned(message=warning))
        state = told(state, manifest, copied, harvest).model_copy(
            update={
                "head": committed.head,
                "warnings": (*state.warnings, *committed.warnings, *harvest.warnings),
            }
        )
        return Done(state, said(state))

    def undo(self, state: RepositorySnapshotState) -> RepositorySnapshotState:
        """Leave what was stored: without a manifest it is no snapshot, and the next one uses it."""
        return state

    def _make_schema(self, state: RepositorySnapshotState) -> None:
        if not state.own_schema:
            return
        with self.parts.servers.session(state.database, "markers") as session:
            if not server_facts(session).in_recovery:
                create_markers(session)

    def _copy(
        self, state: RepositorySnapshotState, work: SnapshotWriting, harvest: Harvest
    ) -> tuple[Manifest, CopiedDatabase]:
        parts = self.parts
        reference = self._reference(state)
        open_shelf = parts.shelves(() if state.full else known_parts(reference, work))
        with parts.servers.session(state.database, "snapshot") as session:
            tools = parts.tools(server_facts(session).major)
        dsn = parts.servers.privileged.with_database(state.database)
        look = ChainLook(chain=parts.chain, harvest=harvest, reference=reference, emit=parts.emit)
        copied = copy_database(
            CopyRequest(
                dsn=dsn,
                timeouts=parts.servers.timeouts,
                tools=tools,
                jobs=parts.jobs,
                sealing=parts.repository.sealing,
                open_shelf=open_shelf,
                reference=Reference.of(reference) if reference else None,
                objection_to_part=Objections(work, open_shelf(), parts.reread_share),
                watch=lambda _: None,
                stored=harvest.add,
                look=look.at_what_changed,
                look_beside=None if may_be_appended(reference) else look.at_everything,
                emit=parts.emit,
                framing=parts.framing,
                with_aside=state.with_aside,
            )
        )
        roles = self._roles(tools, open_shelf, harvest)
        with parts.servers.session(state.database, "snapshot") as session:
            manifest = describe_copied(
                session,
                Occasion(
                    snapshot=state.snapshot,
                    kind=state.kind,
                    application=state.application,
                    note=state.note,
                    created=state.created or datetime.now(UTC),
                ),
                repository=parts.repository.id,
                recipients=tuple(str(r) for r in parts.repository.recipients),
                copied=copied,
                role_statements=roles,
                report=harvest.report,
                digest_key=parts.repository.sealing.digest_key,
            )
        return manifest, copied

    def _reference(self, state: RepositorySnapshotState) -> Manifest | None:
        if state.reference is None:
            return None
        return self.parts.repository.snapshots.find(state.reference).manifest

    def _roles(
        self, tools: ClientTools, open_shelf: OpenShelf, harvest: Harvest
    ) -> tuple[StoredPart, ...]:
        try:
            return dump_role_statements(
                tools=tools, dsn=self.parts.servers.privileged, shelf=open_shelf()
            )
        except (ClientToolFailed, ClientToolsMissing) as error:
            harvest.warnings.append(f"roles are not in the snapshot: {error.message}")
            self.parts.emit(Warned(message=harvest.warnings[-1], hint=error.hint))
            return ()


def _clock_went_back(reference: Manifest | None, now: datetime) -> Warned | None:
    """Return what to say where the newest snapshot is dated later than it is by the server."""
    if reference is None or reference.created <= now:
        return None
    return Warned(
        message=f"the server's clock says {now:%Y-%m-%d %H:%M:%S} UTC, and stood later when "
        f"`{reference.snapshot}` was taken: what `latest` means and what a prune keeps go by it",
        hint="alexandria doctor   # compares the clocks",
    )


def _is_committed(repository: Repository, state: RepositorySnapshotState) -> bool:
    """Tell whether an attempt before a crash got as far as the manifest."""
    try:
        return repository.snapshots.find(state.snapshot).manifest is not None
    except SnapshotMissing:
        return False
