"""Where measurements are made: a private server, its tools, and our program beside them."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from bench import database, measuring

#: As an ordinary server is set, but for what a first load needs.
SETTINGS = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "60min",
    "autovacuum": "off",
}
DATABASE = "bench"


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """A server with the seeded database, and a folder for everything."""

    server: EmbeddedServer
    folder: Path
    gigabytes: float
    runs: int

    @property
    def dsn(self) -> Dsn:
        """The seeded database."""
        return Dsn.parse(self.server.conninfo(DATABASE))

    def new_database(self, name: str, *, gigabytes: float | None = None) -> None:
        """Make a database: empty, or filled with about so much; one of that name goes first."""
        self.drop_database(name)
        with self.session("postgres") as session:
            session.execute(f"CREATE DATABASE {name}")
        if gigabytes is not None:
            with self.session(name) as session:
                database.fill(session, gigabytes=gigabytes)

    def drop_database(self, name: str) -> None:
        """Drop a database where it is there."""
        with self.session("postgres") as session:
            session.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def session(self, name: str = DATABASE) -> Session:
        """Open a session."""
        return connect(Dsn.parse(self.server.conninfo(name)), purpose="bench")

    def tool(self, name: str) -> Path:
        """Return one of PostgreSQL's programs."""
        return self.server.bin_dir / name

    def stock(self, program: str, *arguments: str | Path, name: str = DATABASE) -> measuring.Child:
        """Run one of PostgreSQL's programs on a database."""
        dsn = self.server.conninfo(name).reveal()
        return measuring.run([self.tool(program), *arguments, f"--dbname={dsn}"], environ={})

    def pipe(self, command: str, *, name: str = DATABASE) -> measuring.Child:
        """Run a pipeline as an operator types it: `$BIN`, `$DSN` and `$DIR` are given."""
        environ = {
            "BIN": str(self.server.bin_dir),
            "DSN": self.server.conninfo(name).reveal(),
            "DIR": str(self.folder),
        }
        return measuring.run(["/bin/bash", "-o", "pipefail", "-ec", command], environ=environ)

    def ours(
        self,
        *arguments: str | Path,
        repository: Path,
        name: str = DATABASE,
        environ: Mapping[str, str] | None = None,
        watch: bool = False,
    ) -> measuring.Child:
        """Run our program, start and all, as an operator does; `watch` looks at its memory."""
        return measuring.run(
            [Path(sys.executable).with_name("alexandria"), *arguments],
            watch=watch,
            environ={
                **(environ or {}),
                "HOME": str(self.folder),
                "ALEXANDRIA_DSN": self.server.conninfo(name).reveal(),
                "ALEXANDRIA_REPOSITORY": str(repository),
                "ALEXANDRIA_STATE_DIR": str(self.folder / "state"),
                "ALEXANDRIA_AUDIT__KEY_FILE": str(self.folder / "audit.key"),
                "ALEXANDRIA_AUDIT__KEY_ENCODING": "raw",
                "ALEXANDRIA_DATABASE__CLIENT_TOOLS": str(self.server.bin_dir),
            },
        )

    def new_repository(self, name: str) -> Path:
        """Make an empty repository."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        # What this machine remembers of a repository that was here before.
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        self.ours("repository", "init", repository=place)
        return place


def size_of(place: Path) -> int:
    """Return the bytes of all files in a folder, or of one file."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


@contextmanager
def workshop(
    folder: Path, *, gigabytes: float, runs: int, filled: bool = True, major: int = 18
) -> Iterator[Workshop]:
    """Start the server and fill the database if asked; everything is gone afterwards."""
    (folder / "audit.key").write_bytes(database.AUDIT_KEY)
    (folder / "audit.key").chmod(0o600)
    with EmbeddedServer.start(folder / "server", major=major, settings=SETTINGS) as server:
        with connect(Dsn.parse(server.conninfo("postgres")), purpose="bench") as session:
            session.execute(f"CREATE DATABASE {DATABASE}")
        place = Workshop(server=server, folder=folder, gigabytes=gigabytes, runs=runs)
        if filled:
            with place.session() as session:
                database.fill(session, gigabytes=gigabytes)
        yield place
