"""Whose fault it is: a failure counts against a snapshot only where it is the snapshot's."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from alexandria_backup.errors import (
    AlexandriaError,
    ArchiveDamaged,
    ClientToolFailed,
    ClientToolsMissing,
    ConnectionLost,
    CredentialsNotFound,
    DatabaseUnreachable,
    DrillInconclusive,
    ExtensionsMissing,
    Interrupted,
    LockedByAnotherRun,
    ManifestInvalid,
    ProofFailed,
    SettingsInvalid,
    SnapshotDamaged,
    SnapshotMissing,
    SpaceMissing,
    StatementFailed,
    StoreUnreachable,
    WrongKey,
)
from alexandria_backup.postgres.client_tools import find_client_tools
from alexandria_backup.postgres.connect import Timeouts
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.drill_server import DrillServer
from alexandria_backup.runbooks.drill_verdict import as_told, judged
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.secret import Secret


def drill_server(conninfo: Secret) -> DrillServer:
    dsn = Dsn.parse(conninfo)
    servers = Servers(application=dsn.with_database("none"), administrator=dsn, timeouts=Timeouts())
    return DrillServer(servers=servers, tools=find_client_tools, own=False)


@pytest.fixture
def alive(server_any: EmbeddedServer) -> DrillServer:
    return drill_server(server_any.conninfo("postgres"))


def verdict(
    server: DrillServer, error: AlexandriaError, *, unlike: Sequence[str] = ()
) -> type[BaseException]:
    with pytest.raises(AlexandriaError) as caught, judged(server, "x", unlike=unlike):
        raise error
    return caught.type


_OF_THE_SNAPSHOT = [
    StatementFailed("duplicate key", sqlstate="23505"),
    StatementFailed("no such function", sqlstate="42883"),
    ClientToolFailed("`pg_restore` ended with status 1: error: relation does not exist"),
]
_OF_THE_SERVER = [
    ConnectionLost("the connection was lost", sqlstate="57P01"),
    StatementFailed("the disk is full", sqlstate="53100"),
    StatementFailed("out of memory", sqlstate="53200"),
    StatementFailed("i/o error", sqlstate="58030"),
    StatementFailed("a page is damaged", sqlstate="XX001"),
    StatementFailed("nobody knows", sqlstate=None),
    ClientToolFailed("`pg_restore` ended with signal SIGKILL: it said nothing"),
    ClientToolFailed("`pg_restore` ended with status 1: could not extend file: "
                     "No space left on device"),
    ClientToolFailed("`pg_restore` ended with status 1: server closed the connection unexpectedly"),
    StatementFailed("not built for it", sqlstate="0A000"),
    *(
        ClientToolFailed(f"`pg_restore` ended with status 1: could not execute query: ERROR:  {it}")
        for it in (
            'collation "pg_catalog.de_DE.utf8" for encoding "UTF8" does not exist',
            'could not create locale "de_DE.utf8": No such file or directory',
            'could not access file "$libdir/own": No such file or directory',
            "ICU is not supported in this build",
            "compression method lz4 not supported",
            "pgaudit must be loaded via shared_preload_libraries",
            'extension "timescaledb" must be preloaded',
        )
    ),
]  # fmt: skip
_OF_RIGHTS = [
    StatementFailed("permission denied for schema x", sqlstate="42501"),
    ClientToolFailed("`pg_restore` ended with status 1: ERROR:  must be owner of extension x"),
    ClientToolFailed("`pg_restore` ended with status 1: ERROR:  permission denied to create x"),
]


@pytest.mark.parametrize("error", _OF_THE_SNAPSHOT, ids=str)
def test_a_refusal_of_what_is_loaded_is_the_snapshots_fault(
    alive: DrillServer, error: AlexandriaError
) -> None:
    assert verdict(alive, error) is ProofFailed
    # Where the database could not be made as the source was, it shows nothing.
    assert verdict(alive, error, unlike=["its locale"]) is DrillInconclusive
    # And neither where the server has gone, of which that was but the first sign.
    gone = drill_server(Secret("host=/nonexistent dbname=postgres"))
    assert verdict(gone, error) is DrillInconclusive


@pytest.mark.parametrize("error", _OF_THE_SERVER, ids=str)
def test_trouble_of_the_server_shows_nothing(alive: DrillServer, error: AlexandriaError) -> None:
    assert verdict(alive, error) is DrillInconclusive


@pytest.mark.parametrize("error", _OF_RIGHTS, ids=str)
def test_what_a_role_may_not_do_on_a_given_server_shows_nothing(
    alive: DrillServer, error: AlexandriaError
) -> None:
    assert verdict(alive, error) is DrillInconclusive
    # Where we may do anything, a restore would be refused as well.
    assert verdict(replace(alive, own=True), error) is ProofFailed


@pytest.mark.parametrize("kind", [SnapshotDamaged, ProofFailed, Interrupted])
def test_what_is_neither_goes_on_as_it_is(alive: DrillServer, kind: type[AlexandriaError]) -> None:
    assert verdict(alive, kind("x")) is kind


@pytest.mark.parametrize(
    "kind",
    [
        *(SnapshotDamaged, SnapshotMissing, ArchiveDamaged, ManifestInvalid, ProofFailed),
        *(DrillInconclusive, Interrupted, SettingsInvalid),
    ],
)
def test_what_is_told_as_it_is(kind: type[AlexandriaError]) -> None:
    error = kind("x", hint="y")
    assert as_told(error) is error


@pytest.mark.parametrize(
    "kind",
    [
        *(DatabaseUnreachable, CredentialsNotFound, ClientToolsMissing, ExtensionsMissing),
        *(SpaceMissing, StoreUnreachable, WrongKey, LockedByAnotherRun, ConnectionLost),
    ],
)
def test_what_leaves_a_drill_inconclusive(kind: type[AlexandriaError]) -> None:
    told = as_told(kind("the reason", hint="y"))
    assert type(told) is DrillInconclusive
    assert told.message.endswith(": the reason")
    assert told.hint == "y"
