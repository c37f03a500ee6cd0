"""Drills: which servers there are for one, and what it works with."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from alexandria_backup.credentials.local import EnvironmentSource, FileSource
from alexandria_backup.credentials.source import find_dsn
from alexandria_backup.errors import AlexandriaError, ClientToolsMissing, DrillInconclusive
from alexandria_backup.postgres.client_tools import ClientTools, find_client_tools
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.server_programs import server_programs
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.runbooks.check_queries import CheckQueries
from alexandria_backup.runbooks.drill import drill_runbook
from alexandria_backup.runbooks.drill_run import Drill
from alexandria_backup.runbooks.drill_server import (
    COMMAND,
    NAME,
    Candidate,
    DrillServer,
    database_of,
    embedded_candidate,
    given_candidate,
)
from alexandria_backup.runbooks.drill_stage import Stage
from alexandria_backup.runbooks.drill_verdict import Keeper, as_told
from alexandria_backup.runbooks.places import RepositoryPlace, SnapshotPlace
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreRequest, RestoreState, Source
from alexandria_backup.settings.drill import DrillServerName
from alexandria_backup.settings.model import Settings
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.runs import begin, new_run

#: The major versions that the extra brings.
_IN_THE_EXTRA = ("16", "18")


@dataclass(frozen=True, kw_only=True)
class Drills:
    """What `alexandria snapshot drill` does."""

    rooms: Rooms
    places: Places

    def drill(self, name: str, *, at: datetime | None = None, jobs: int | None = None) -> Drill:
        """Return the drill of a snapshot: an id or `latest` of the repository, or a file.

        Raises SnapshotDamaged, UsageError, and DrillInconclusive for whatever else stands in the
        way, such as a key that is not there.
        """
        try:
            return self._drill(self.places.as_of(name, at), jobs)
        except AlexandriaError as error:
            raise as_told(error) from error

    def _drill(self, name: str, jobs: int | None) -> Drill:
        location, archive = self.places.locate(name)
        place = self.places.place(location)
        entry = place.find(archive)
        run = new_run(NAME)
        database = database_of(run)
        state = RestoreState(
            run=run,
            target=database,
            request=RestoreRequest(
                store=location,
                archive=archive,
                to_database=database,
                no_tablespaces=True,
                # A chain that was broken when the snapshot was taken must come back just so.
                accept_chain=True,
                jobs=jobs or self.rooms.settings.database.jobs,
            ),
        )
        stage = Stage(
            entry=entry,
            place=place,
            chain=self.rooms.chain,
            checks=self._checks,
            candidates=lambda source: self._candidates(run, source),
            parts_on=lambda server: self._parts(place, server),
            emit=self.rooms.emit,
        )
        repository = place.repository if isinstance(place, RepositoryPlace) else None
        return Drill(
            procedure=begin(self.rooms, drill_runbook(stage), state, journalled=False),
            stage=stage,
            keeper=Keeper(repository=repository, entry=entry, run=run, emit=self.rooms.emit),
        )

    @property
    def _checks(self) -> CheckQueries:
        """All queries to ask: the application's, and those of drills."""
        own = self.rooms.checks
        return replace(own, queries={**own.queries, **self.rooms.settings.drill.checks})

    def _parts(self, place: SnapshotPlace, server: DrillServer) -> RestoreParts:
        settings = self.rooms.settings
        return RestoreParts(
            servers=server.servers,
            application=self.rooms.node,
            place=place,
            chain=self.rooms.chain,
            tools=server.tools,
            safety=None,
            # Asked at the end with those of `[drill]`: one that fails is no damage.
            checks=CheckQueries(queries={}, timeout_s=0),
            server_free_bytes=None,
            server_reserve_bytes=settings.database.server_reserve,
            fence_patience_s=settings.database.fence_timeout_s,
            # There is no journal, and so nothing to abort.
            anew=lambda _: f"{COMMAND}   # once more",
            emit=self.rooms.emit,
        )

    def _candidates(self, run: str, source: Source) -> tuple[Candidate, ...]:
        found = tuple(self._found(run, source))
        if found:
            return found
        major = source.server_version.partition(".")[0]
        how = (
            "pip install 'alexandria-backup[drill]'   # or set `[drill] dsn_file`"
            if major in _IN_THE_EXTRA
            else f"apt install postgresql-{major}   # or set `[drill] dsn_file`"
        )
        raise DrillInconclusive(
            f"there is no server to restore a snapshot of PostgreSQL {major} into, "
            "so nothing is known",
            hint=how,
        )

    def _found(self, run: str, source: Source) -> Iterator[Candidate]:
        settings, tools, emit = self.rooms.settings, self._tools, self.rooms.emit
        major = source.server_version.partition(".")[0]
        if settings.drill.server is not DrillServerName.DSN and major.isdigit():
            for programs in server_programs(int(major)):
                folder = drill_folder(settings)
                yield embedded_candidate(programs, run, folder=folder, tools=tools, emit=emit)
        if settings.drill.server is DrillServerName.EMBEDDED:
            return
        dsn = self._dsn()
        if dsn is not None:
            database = settings.database
            timeouts = Timeouts(connect=database.connect_timeout_s, lock=database.lock_timeout_s)
            yield given_candidate(dsn, run, timeouts=timeouts, tools=tools, emit=emit)

    def _tools(self, server_major: int) -> ClientTools:
        """Return fitting programs: `[database] client_tools` are those of another server."""
        try:
            return self.rooms.tools(server_major)
        except ClientToolsMissing:
            return find_client_tools(server_major)

    def _dsn(self) -> Dsn | None:
        """Return the DSN of the settings; None where none is set. Raises CredentialsNotFound."""
        drill = self.rooms.settings.drill
        sources = (
            EnvironmentSource(variable="ALEXANDRIA_DRILL__DSN", value=drill.dsn),
            FileSource(given_as="[drill] dsn_file", path=drill.dsn_file, emit=self.rooms.emit),
        )
        if not any(source.configured() for source in sources):
            return None
        return find_dsn(sources).dsn


def drill_folder(settings: Settings) -> Path:
    """Return where a drill's server keeps its data: on a disk, unless told otherwise."""
    if settings.drill.folder is not None:
        return settings.drill.folder
    return Path(tempfile.gettempdir() if os.environ.get("TMPDIR") else "/var/tmp")  # noqa: S108
