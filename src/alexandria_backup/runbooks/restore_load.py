"""The step of a restore that loads the replacement, wherever room was made for it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from alexandria_backup.archive.aside import without_aside
from alexandria_backup.archive.other_servers import other_servers
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.selection import selected
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.copying.load_apart import can_go_on
from alexandria_backup.copying.load_archive import load_archive
from alexandria_backup.copying.loading import Loading, LoadOptions
from alexandria_backup.errors import (
    ClientToolFailed,
    ConnectionLost,
    SnapshotDamaged,
    StatementFailed,
)
from alexandria_backup.postgres.analyse import analyse
from alexandria_backup.postgres.load_settings import applied, choose_settings
from alexandria_backup.postgres.server import english_messages, server_facts
from alexandria_backup.postgres.server_machine import cores, memory_bytes
from alexandria_backup.runbooks.restore_bound import active_jobs
from alexandria_backup.runbooks.restore_ground import Ground
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState
from alexandria_backup.runbooks.restore_watch import watched
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.sealing.digests import Sha256Tee

#: What a server says in English; where it speaks another language, the hint names no table.
_MISSING_RELATION: Final = re.compile(r'relation "([^"]+)" does not exist')


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load the archive, all but what would act on the world."""

    name: ClassVar[str] = "load"
    changes: ClassVar[bool] = True

    parts: RestoreParts
    ground: Ground

    def explain(self, state: RestoreState) -> Explanation:
        """Give the pg_restore command."""
        owner = ("--no-owner", "--no-privileges") if state.request.no_owner else ()
        only = ("--use-list=tables.list",) if state.request.tables else ()
        name = state.shadow
        return Explanation(
            sentence=f"load `{state.request.archive}` into `{state.shadow}`",
            commands=(
                shell(
                    "pg_restore",
                    "--exit-on-error",
                    f"--jobs={state.request.jobs}",
                    *owner,
                    *only,
                    f"--dbname={name}",
                    self.parts.place.as_file(state.request.archive).file,
                ),
                shell("psql", f"--dbname={name}", "-c", "analyze"),
            ),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Load it: into what a killed attempt has noted as done, or from the start."""
        goes_on = self._can_go_on(state)
        # What a killed attempt has loaded into was made by that attempt, too.
        state = self.ground.prepare(state if goes_on else self.ground.clear(state))
        name = state.shadow
        self._refuse_changed(state)
        servers = self.parts.servers
        found = read_entries(self.parts, state)
        elsewhere = other_servers(found).entries
        with servers.session(name, "load") as shadow:
            server = server_facts(shadow)
            major = server.major
            settings = choose_settings(
                shadow,
                jobs=state.request.jobs,
                memory_bytes=self.parts.server_memory_bytes or memory_bytes(server),
                cores=cores(server),
            )
            parameters = {**applied(settings), **english_messages(shadow)}
            missing = self.ground.missing(shadow, found, goes_on=goes_on)
        entries = tuple(entry for entry in missing if entry.dump_id not in elsewhere)
        with watched(self.parts, name, f"load {state.request.archive}") as watch:
            load = loading(self.parts, state, name, entries, major)
            with _hinting_at_left_out(state):
                read_back = load_archive(replace(load, dsn=load.dsn.with_settings(parameters)))
            with servers.session(name, "load") as shadow:
                analyse(shadow)
                active = active_jobs(shadow, found)
        return Done(
            state.model_copy(
                update={
                    "load_settings": settings,
                    "grown": watch.grown,
                    "read_back": read_back,
                    "active_jobs": active,
                }
            ),
            f"{len(entries)} objects with `pg_restore` {major}, " + ", ".join(map(str, settings)),
        )

    def undo(self, state: RestoreState) -> RestoreState:
        """What was loaded goes with the room that was made for it."""
        return state

    def _can_go_on(self, state: RestoreState) -> bool:
        """Tell whether this run has made the room, and a part of the very archive is in it."""
        identity = self.parts.place.archive(state.request.archive).identity
        if identity is None or not self.ground.is_ours(state):
            return False
        with self.parts.servers.session(state.shadow, "load") as shadow:
            return can_go_on(shadow, identity)

    def _refuse_changed(self, state: RestoreState) -> None:
        """What is loaded must be what was read and agreed to."""
        archive = self.parts.place.archive(state.request.archive)
        if (archive.identity or _sha256(archive)) != state.known_source.identity:
            raise SnapshotDamaged(
                f"`{state.request.archive}` has changed since it was read",
                hint=self.parts.anew(state.run),
            )


@contextmanager
def _hinting_at_left_out(state: RestoreState) -> Iterator[None]:
    """Say, where some tables alone cannot be loaded, why that may be so.

    What a function reads stands in its text only: a constraint that calls it does not bring along
    the tables that it looks into.
    """
    try:
        yield
    except ConnectionLost:
        raise
    except (ClientToolFailed, StatementFailed) as error:
        if not state.request.tables or error.hint:
            raise
        missing = _MISSING_RELATION.search(error.message)
        error.hint = (
            shell("--table", missing[1]) + "   # too: something of these tables reads it"
            if missing
            else "a function that these tables call may read a table that is left out: name it, "
            "too, with `--table`, or leave out `--table`"
        )
        raise


def read_entries(parts: RestoreParts, state: RestoreState) -> tuple[TocEntry, ...]:
    """Return what of the archive's table of contents is restored; its data are not read."""
    entries = ArchiveReader(parts.place.archive(state.request.archive).chunks()).entries
    return selected(without_aside(entries), state.request.tables)


def loading(
    parts: RestoreParts,
    state: RestoreState,
    database: str,
    entries: tuple[TocEntry, ...],
    server_major: int,
) -> Loading:
    """Return what it takes to load `entries` of the archive into a database."""
    return Loading(
        tools=parts.tools(max(server_major, state.known_source.pg_restore)),
        dsn=parts.servers.privileged.with_database(database),
        server_major=server_major,
        archive=parts.place.archive(state.request.archive),
        entries=entries,
        options=LoadOptions(
            jobs=state.request.jobs,
            no_owner=state.request.no_owner,
            no_tablespaces=state.request.no_tablespaces,
            roles=state.request.map_owner,
        ),
        emit=parts.emit,
        pinned=state.known_source.pinned_rendering,
    )


def _sha256(archive: ArchiveSource) -> str:
    tee = Sha256Tee(archive.chunks())
    for _ in tee:
        pass
    return tee.hexdigest()
