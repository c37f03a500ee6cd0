import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexandria_backup.demo import fill as filling
from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

KEY = bytes(range(32))
SEED = 7

#: Holds the keeper's lock until its standard input ends or it is killed.
KEEPER = """
import sys
from pathlib import Path
from alexandria_backup.demo import keeper
with keeper.hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def connected() -> Iterator[Callable[[Secret], Session]]:
    """Open sessions that are closed after the test."""
    sessions: list[Session] = []

    def open_one(conninfo: Secret) -> Session:
        sessions.append(connect(Dsn.parse(conninfo), purpose="test"))
        return sessions[-1]

    yield open_one
    for session in sessions:
        session.close()


@pytest.fixture(scope="session")
def small_template() -> Callable[[EmbeddedServer], str]:
    """Return the name of a small filled database on a server, made when first asked for."""
    made: dict[EmbeddedServer, str] = {}

    def template(server: EmbeddedServer) -> str:
        if server not in made:
            name = "demo_template"
            with connect(Dsn.parse(server.conninfo()), purpose="test") as session:
                session.execute(f"CREATE DATABASE {name}")
            with connect(Dsn.parse(server.conninfo(name)), purpose="test") as session:
                filling.create_schema(session)
                filling.fill(session, rows=2_000, seed=SEED, key=KEY)
            made[server] = name
        return made[server]

    return template


@pytest.fixture
def filled(
    new_database: Callable[..., Secret], small_template: Callable[[EmbeddedServer], str]
) -> Callable[[EmbeddedServer], Secret]:
    """Make a small filled database."""
    return lambda server: new_database(server, template=small_template(server))


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps the application of `folder` alive."""
    root = tmp_path / "application"
    root.mkdir()
    command = [sys.executable, "-c", KEEPER, str(ApplicationFolder(root=root).keeper_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture
def folder(
    tmp_path: Path,
    keeper: subprocess.Popen[bytes],
    filled: Callable[[EmbeddedServer], Secret],
    server18: EmbeddedServer,
) -> ApplicationFolder:
    """A folder with all that the application needs, kept by `keeper`."""
    folder = ApplicationFolder(root=tmp_path / "application")
    for path, content in (
        (folder.dsn_file, filled(server18).reveal().encode()),
        (folder.key_file, KEY),
    ):
        path.touch(mode=0o600)
        path.write_bytes(content)
    return folder
