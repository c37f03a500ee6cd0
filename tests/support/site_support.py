"""A site as an operator has it: a database with the Chinook sample, a role, settings.

Everything is real but the platform: no application runs, so the stop and start commands write a
line each into `platform.log`.
"""

import contextlib
import io
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from psycopg import sql

from alexandria_backup.cli.main import invoke
from alexandria_backup.events import Emit, Event
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.repository.making import make_repository
from alexandria_backup.wiring.wiring import Wiring

CHINOOK_TABLES = 11
CHINOOK_ROWS = 15_607


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a call of the program ended."""

    returncode: int
    stdout: str
    stderr: str


@contextmanager
def surroundings(folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """Stand in a folder, with more variables, and leave no signal handler behind."""
    handlers = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    with contextlib.chdir(folder), patch.dict(os.environ, environ):
        try:
            yield
        finally:
            for name, handler in handlers.items():
                signal.signal(name, handler)


def run_program(
    folder: Path,
    config: Path,
    arguments: Sequence[str],
    *,
    typed: str | None = None,
    environ: dict[str, str] | None = None,
) -> Ended:
    """Run the program in this process, from its entry point to its exit code."""
    out, err = io.StringIO(), io.StringIO()
    given = io.StringIO(typed or "")
    with (
        surroundings(folder, environ or {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(sys, "stdin", given),
    ):
        code = invoke(["--config", str(config), *arguments])
    return Ended(returncode=int(code), stdout=out.getvalue(), stderr=err.getvalue())


@dataclass(kw_only=True)
class Site:
    """One database on one server, and the settings of whoever works on it."""

    folder: Path
    server: EmbeddedServer
    database: str
    role: str
    extra: str = ""
    events: list[Event] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "alexandria.toml"

    @property
    def repository(self) -> Path:
        return self.folder / "snapshots"

    def settle(self) -> None:
        """Write the files of the site."""
        self.repository.mkdir()
        self.write_secret("dsn", self.server.conninfo(self.database, user=self.role).reveal())
        self.write_secret("admin-dsn", self.server.conninfo("postgres").reveal())
        log = self.folder / "platform.log"
        self.config.write_text(
            f"""\
repository = "snapshots"
state_dir = "state"
{self.extra}
[database]
dsn_file = "dsn"
admin_dsn_file = "admin-dsn"
client_tools = "{self.server.bin_dir}"
server_free_space = 1_000_000_000
fence_timeout_s = 20

[application]
name = "chinook"
stop_command = ["/bin/sh", "-c", "echo stop >> {log}"]
start_command = ["/bin/sh", "-c", "echo start >> {log}"]
""",
            encoding="utf-8",
        )

    def make_repository(self) -> None:
        """Make the folder of snapshots a repository, with the keys of the settings."""
        rooms = self.wiring().rooms
        assert rooms.repository is not None
        make_repository(rooms.repository, rooms.keys, rooms.pins)

    def write_secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def platform_log(self) -> list[str]:
        path = self.folder / "platform.log"
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    def wiring(self, emit: Emit | None = None) -> Wiring:
        return Wiring.load(
            config=self.config,
            environ={},
            cwd=self.folder,
            dsn_file=None,
            emit=emit or self.events.append,
        )

    def run(
        self, *arguments: str, typed: str | None = None, environ: dict[str, str] | None = None
    ) -> Ended:
        """Run the program in this process, from its entry point to its exit code.

        `site.run("snapshot", "create")`; `process` does the same in a process of its own.
        """
        return run_program(self.folder, self.config, arguments, typed=typed, environ=environ)

    def process(
        self, *arguments: str, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the program as a process, as a person's shell does."""
        return subprocess.run(
            [sys.executable, "-m", "alexandria_backup", "--config", str(self.config), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **(environ or {})},
            timeout=120,
            check=False,
        )

    @contextmanager
    def connection(self, database: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        conninfo = self.server.conninfo(database or self.database).reveal()
        with psycopg.connect(conninfo, autocommit=True) as connection:
            yield connection

    def sql(self, statement: str, *parameters: object, database: str | None = None) -> list[Any]:
        """Run a statement as the superuser and return its rows."""
        with self.connection(database) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: object, database: str | None = None) -> Any:
        return self.sql(statement, *parameters, database=database)[0][0]

    def databases(self) -> dict[str, int]:
        """The databases of this site, by name: live, shadow and kept ones."""
        rows = self.sql("SELECT datname, oid::int8 FROM pg_database", database="postgres")
        # A long name is cut before a suffix is put behind it.
        return {name: oid for name, oid in rows if name.startswith(self.database[:16])}

    def dump(self, name: str = "plain.pgdump", options: Sequence[str] = ("-Fc",)) -> Path:
        """Dump the database with the stock pg_dump, as somebody without this program would."""
        target = self.folder / name
        subprocess.run(
            [
                str(self.server.bin_dir / "pg_dump"),
                *options,
                f"--file={target}",
                f"--dbname={self.server.conninfo(self.database).reveal()}",
            ],
            check=True,
            env={"LC_ALL": "C"},
        )
        return target

    def schema_text(self, database: str | None = None) -> str:
        """The schema as pg_dump writes it: equal texts are equal schemas; without what is kept."""
        found = subprocess.run(
            [
                str(self.server.bin_dir / "pg_dump"),
                "--schema-only",
                "--exclude-schema=*_alexandria_kept_*",
                "--restrict-key=x" if self.server.major >= 18 else "--no-publications",
                f"--dbname={self.server.conninfo(database or self.database).reveal()}",
            ],
            check=True,
            capture_output=True,
            text=True,
            env={"LC_ALL": "C"},
        ).stdout
        return "\n".join(line for line in found.splitlines() if "restrict" not in line)

    def fingerprint(self, database: str | None = None) -> dict[str, str]:
        """A digest of every table's rows, whatever their order; without what is kept."""
        return {
            f"{schema}.{table}": rows
            for schema, table, rows in self.fingerprints(database)
            if "_alexandria_kept_" not in schema
        }

    def fingerprints(self, database: str | None = None) -> Iterator[tuple[str, str, str]]:
        """Schema, name and digest of every table, what is kept too."""
        with self.connection(database) as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            for schema, table in tables:
                query = sql.SQL(
                    "SELECT count(*) || ':' || coalesce(sum(hashtextextended(t::text, 0)), 0) "
                    "FROM {} AS t"
                ).format(sql.Identifier(schema, table))
                row = connection.execute(query).fetchone()
                assert row is not None
                yield schema, table, row[0]

    def fingerprint_of_fenced(self, database: str) -> dict[str, str]:
        """The same of a database that lets nobody in; asserts that it does not."""
        allowed = "SELECT datallowconn FROM pg_database WHERE datname = %s"
        assert self.value(allowed, database, database="postgres") is False
        with self.connection("postgres") as connection:
            alter = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            connection.execute(alter.format(sql.Identifier(database), sql.SQL("true")))
            try:
                return self.fingerprint(database)
            finally:
                connection.execute(alter.format(sql.Identifier(database), sql.SQL("false")))

    def clear(self) -> None:
        """Drop what runs have made on the server."""
        for name in self.databases():
            with self.connection("postgres") as connection:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))


def make_site(
    folder: Path, server: EmbeddedServer, database: str, role: str, extra: str = ""
) -> Site:
    """Settle a site on a database that exists."""
    site = Site(folder=folder, server=server, database=database, role=role, extra=extra)
    site.settle()
    return site


def new_role(server: EmbeddedServer, options: str = "") -> str:
    """Make a role that may log in."""
    name = f"role_{secrets.token_hex(4)}"
    with psycopg.connect(server.conninfo("postgres").reveal(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN {}").format(sql.Identifier(name), sql.SQL(options))
        )
    return name
