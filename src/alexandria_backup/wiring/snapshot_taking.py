"""Taking snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from alexandria_backup.copying.plan import Framing
from alexandria_backup.errors import RepositoryInvalid, UsageError
from alexandria_backup.postgres.marker_rows import has_markers
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.runbooks import repository_snapshot
from alexandria_backup.runbooks import snapshot as snapshotting
from alexandria_backup.runbooks.procedure import Procedure
from alexandria_backup.runbooks.repository_snapshot_state import RepositorySnapshotState
from alexandria_backup.runbooks.step import Runbook
from alexandria_backup.runbooks.transition import Transition, read_state
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.runs import Rebuild, Rebuilt, begin, new_run
from alexandria_backup.wiring.stores import shelves
from alexandria_backup.wiring.target import target


@dataclass(frozen=True, kw_only=True)
class SnapshotTaking:
    """What `alexandria snapshot create` does, and every run that takes one first."""

    rooms: Rooms
    places: Places

    @property
    def rebuild(self) -> Mapping[str, Rebuild]:
        """How each runbook of this family is built from its journal."""
        return {snapshotting.NAME: self._stopped, repository_snapshot.NAME: self._stopped_copying}

    def needs_consent(self) -> bool:
        """Tell whether a snapshot would be cheaper with a schema that nobody has decided on."""
        if self.rooms.opened is None or self.rooms.settings.database.own_schema is not None:
            return False
        servers = self.rooms.servers
        with servers.session(servers.database, "snapshot") as session:
            return not has_markers(session) and not server_facts(session).in_recovery

    def create(
        self,
        *,
        file: str | None,
        kind: SnapshotKind,
        note: str | None,
        full: bool = False,
        own_schema: bool | None = None,
        database: str | None = None,
        journalled: bool = True,
        with_aside: bool = False,
    ) -> Procedure[Any]:
        """Return the taking of a snapshot into `file`, or into the repository.

        `full` reads everything and stores it anew. `own_schema` consents to the schema that lets
        later snapshots cost what has changed. A folder that is no repository gets a file.
        """
        repository = self.rooms.opened
        if file is None and repository is not None:
            setting = self.rooms.settings.database.own_schema
            copy_state = RepositorySnapshotState(
                run=new_run(repository_snapshot.NAME),
                database=database or self.rooms.servers.database,
                application=self.rooms.settings.application.name,
                kind=kind,
                note=note,
                full=full,
                with_aside=with_aside,
                own_schema=setting if own_schema is None else own_schema,
                store=repository.store.url,
            )
            return begin(self.rooms, self._copying(), copy_state, journalled=journalled)
        if full:
            raise UsageError(
                "`--full` is for repositories: a file always holds everything",
                hint="alexandria repository init",
            )
        location, archive = target(file) if file else (None, None)
        state = snapshotting.SnapshotState(
            run=new_run(snapshotting.NAME),
            database=database or self.rooms.servers.database,
            application=self.rooms.settings.application.name,
            kind=kind,
            note=note,
            with_aside=with_aside,
            store=self.places.files(location).store.url,
            archive=archive,
        )
        return begin(self.rooms, self._runbook(location), state, journalled=journalled)

    def take_safety(self, database: str, note: str, *, with_aside: bool = False) -> str:
        """Take a safety snapshot as part of another run, whose journal tells of it."""
        procedure = self.create(
            file=None,
            kind=SnapshotKind.SAFETY,
            note=note,
            database=database,
            journalled=False,
            with_aside=with_aside,
        )
        return str(procedure.run(lambda _: None).state.snapshot)

    def _runbook(self, location: str | None) -> Runbook[snapshotting.SnapshotState]:
        return snapshotting.snapshot_runbook(
            snapshotting.SnapshotParts(
                servers=self.rooms.servers,
                snapshots=self.places.files(location),
                tools=self.rooms.tools,
                chain=self.rooms.chain,
                key=self.rooms.signing_key,
                options=self.rooms.settings.snapshot.pg_dump_options,
                emit=self.rooms.emit,
            )
        )

    def _stopped(self, last: Transition) -> Rebuilt[snapshotting.SnapshotState]:
        store = read_state(snapshotting.SnapshotState, last).store
        return Rebuilt(runbook=self._runbook(store))

    def _copying(self) -> Runbook[RepositorySnapshotState]:
        rooms, repository = self.rooms, self.rooms.opened
        if repository is None:
            raise RepositoryInvalid(
                "the repository is not there any more", hint="alexandria repository info"
            )
        return repository_snapshot.repository_snapshot_runbook(
            repository_snapshot.RepositorySnapshotParts(
                servers=rooms.servers,
                repository=repository,
                tools=rooms.tools,
                chain=rooms.chain,
                jobs=rooms.settings.database.jobs,
                shelves=partial(shelves, repository.store.url, repository.sealing),
                framing=Framing(
                    above_bytes=rooms.settings.snapshot.framed_above,
                    most_pages=rooms.settings.snapshot.frame_pages,
                ),
                reread_share=rooms.settings.snapshot.reread_percent / 100,
                emit=rooms.emit,
            )
        )

    def _stopped_copying(self, last: Transition) -> Rebuilt[RepositorySnapshotState]:
        read_state(RepositorySnapshotState, last)
        return Rebuilt(runbook=self._copying())
