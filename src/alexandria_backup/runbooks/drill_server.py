"""The server that a drill restores into: one of its own, or a database of a given one.

Both leave nothing behind. A server of its own goes with this process, whatever ends that; on a
given one the database goes with the drill, and where a drill was killed, with the next one.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from alexandria_backup.errors import AlexandriaError, PrecheckRefused, StatementFailed
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.postgres.client_tools import ClientTools, installed_in
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.server import list_databases
from alexandria_backup.postgres.shadow import (
    DRILL_PREFIX,
    discard_unfinished,
    drop_database,
    is_unfinished,
    read_marker,
)
from alexandria_backup.postgres.sqlstates import DATABASE_MISSING, INSUFFICIENT_PRIVILEGE
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.postgres.swap import who_is
from alexandria_backup.postgres.throwaway_folder import (
    remove_left_over,
    remove_temporary_left_over,
    throwaway_folder,
)
from alexandria_backup.runbooks.run_lock import is_locked, run_lock
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import shell

#: What the name of each run of a drill begins with.
NAME: Final = "drill"
#: How one is begun, for hints.
COMMAND: Final = "alexandria snapshot drill …"
#: A restored database is somebody's code, and must not act on the world.
_QUIET: Final = {"shared_preload_libraries": "", "max_logical_replication_workers": "0"}
_RUN: Final = re.compile(r"drill-\d{8}T\d{6}Z-[2-9a-z]{4}")
_DATABASE: Final = re.compile(rf"{DRILL_PREFIX}(\d{{8}}t\d{{6}}z)_([2-9a-z]{{4}})")
#: Another role's database, and one that was dropped meanwhile: no reason not to drill.
_PASSED_OVER: Final = frozenset({INSUFFICIENT_PRIVILEGE, DATABASE_MISSING})
_UNFINISHED: Final = re.compile(rf"alexandria_new_({_RUN.pattern})")

#: Client tools that fit a server's major version.
FindTools = Callable[[int], ClientTools]


@dataclass(frozen=True, kw_only=True)
class DrillServer:
    """A server to restore into."""

    servers: Servers
    tools: FindTools
    #: True where the whole server is thrown away, so that roles can be made there.
    own: bool


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A server that a drill could use."""

    #: Such as `PostgreSQL 18 of `/usr/lib/postgresql/18/bin``.
    name: str
    own: bool
    #: Starts it, or connects; at the end of the block nothing is left.
    open: Callable[[], AbstractContextManager[DrillServer]]


def database_of(run: str) -> str:
    """Return the name of the database that a drill makes."""
    _, at, suffix = run.split("-")
    return f"{DRILL_PREFIX}{at.lower()}_{suffix}"


def embedded_candidate(
    programs: Path, run: str, *, folder: Path, tools: FindTools, emit: Emit
) -> Candidate:
    """Return a server of our own, started with the programs of an installation."""
    return Candidate(
        name=f"a server of its own, with the programs in `{programs}`",
        own=True,
        open=partial(_embedded, programs, run, folder, tools, emit),
    )


def given_candidate(
    dsn: Dsn, run: str, *, timeouts: Timeouts, tools: FindTools, emit: Emit
) -> Candidate:
    """Return the server of a DSN."""
    return Candidate(
        name=f"a database of its own on `{dsn}`",
        own=False,
        open=partial(_given, dsn, run, timeouts, tools, emit),
    )


@contextmanager
def _embedded(
    programs: Path, run: str, base: Path, tools: FindTools, emit: Emit
) -> Iterator[DrillServer]:
    for folder in (*remove_left_over(base), *remove_temporary_left_over()):
        emit(Note(message=f"what a killed drill has left was removed: `{folder}`"))
    own = installed_in(programs)

    def fitting(major: int) -> ClientTools:
        return own if own is not None and own.major >= major else tools(major)

    with (
        throwaway_folder(base) as folder,
        EmbeddedServer.start(folder, binaries=programs, settings=_QUIET, throwaway=True) as server,
    ):
        if not server.data_dir.is_relative_to(folder):
            # They lie in a temporary folder then, perhaps in memory; a power cut leaves them there.
            raise PrecheckRefused(
                f"the data of a throwaway server cannot be kept in `{base}`: root's servers run as "
                "`nobody`, who may not enter it",
                hint=shell("chmod", "o+x", str(base)),
            )
        yield DrillServer(
            servers=Servers(
                application=Dsn.parse(server.conninfo(database_of(run))),
                administrator=Dsn.parse(server.conninfo("postgres")),
                timeouts=Timeouts(),
            ),
            tools=fitting,
            own=True,
        )


@contextmanager
def _given(
    dsn: Dsn, run: str, timeouts: Timeouts, tools: FindTools, emit: Emit
) -> Iterator[DrillServer]:
    for folder in remove_temporary_left_over():
        emit(Note(message=f"what a killed run has left was removed: `{folder}`"))
    database = database_of(run)
    servers = Servers(application=dsn.with_database(database), administrator=dsn, timeouts=timeouts)
    # Held by a session, so that it ends with this process and tells the next drill of that.
    with run_lock(servers, run):
        with servers.maintenance() as maintenance:
            drop_left_over(maintenance, emit)
        try:
            yield DrillServer(servers=servers, tools=tools, own=False)
        finally:
            with servers.maintenance() as maintenance:
                discard_unfinished(maintenance, run)
                _drop(maintenance, run, database)


def drop_left_over(maintenance: Session, emit: Emit) -> None:
    """Drop the databases of drills that were killed, and tell of each.

    A drill that is at work, from whatever machine, holds the lock of its run. What another role's
    drill has left, or another drill drops at this moment, is passed over with a warning, and so is
    what has such a name and does not carry the mark of its run.
    """
    for name in list_databases(maintenance):
        run = _run_of(name)
        if run is None or is_locked(maintenance, run):
            continue
        try:
            dropped = _drop_left_over(maintenance, run, name)
        except StatementFailed as error:
            if error.sqlstate not in _PASSED_OVER:
                raise
            why = error.message
            emit(Warned(message=f"database `{name}` of a killed drill is not dropped: {why}"))
            continue
        if dropped:
            emit(Note(message=f"what a killed drill has left was dropped: database `{name}`"))
        elif _UNFINISHED.fullmatch(name) and who_is(maintenance, name) is not None:
            emit(
                Warned(
                    message=f"database `{name}` has the name of a drill's, and not its mark: "
                    "it is not dropped",
                    hint="look at it; if nobody needs it, drop it",
                )
            )


def _drop_left_over(maintenance: Session, run: str, name: str) -> bool:
    if _UNFINISHED.fullmatch(name) and is_unfinished(maintenance, run):
        discard_unfinished(maintenance, run)
        return True
    return _drop(maintenance, run, name)


def _run_of(database: str) -> str | None:
    """Return the run whose database has this name; None where it is no drill's."""
    if found := _UNFINISHED.fullmatch(database):
        return found[1]
    if found := _DATABASE.fullmatch(database):
        return f"{NAME}-{found[1].upper()}-{found[2]}"
    return None


def _drop(maintenance: Session, run: str, database: str) -> bool:
    """Drop the database of a run, where the marker says that it is that; tell whether it was."""
    marker = read_marker(maintenance, database)
    oid = who_is(maintenance, database)
    if marker is None or marker.run != run or oid is None:
        return False
    drop_database(maintenance, database, expected_oid=oid, marker_run=run)
    return True


def is_alive(server: DrillServer) -> bool:
    """Tell whether the server still answers."""
    try:
        with server.servers.maintenance() as session:
            return session.value("SELECT true") is True
    except AlexandriaError:
        return False
