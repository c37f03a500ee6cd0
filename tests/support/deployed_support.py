"""The demo application where it is deployed, and an operator who restores its database.

Whoever runs the application starts and stops the real process of it, so that what is scaled to 0 or
masked really ends, `/ready` is really asked, and its writer never rests.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from site_support import Ended, surroundings

from alexandria_backup.cli.main import invoke
from alexandria_backup.demo import control
from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.platforms.readiness import ReadinessProbe
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.runbooks.restore_state import RestoreChoices

WRITES_PER_SECOND = 50.0


@dataclass(frozen=True, kw_only=True)
class DemoMachine:
    """A machine whose pods are the demo application; one at a time."""

    application: ApplicationFolder

    def start(self, pod: str) -> None:
        control.start(self.application, writes_per_second=WRITES_PER_SECOND)

    def stop(self, pod: str) -> None:
        control.stop(self.application)

    def is_ready(self, pod: str) -> bool:
        return ReadinessProbe(url=self.application.url()).is_ready()

    def log(self, pod: str) -> str:
        return self.application.log_file.read_text(errors="replace")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One deployed application, its database, and the operator's settings."""

    folder: Path
    server: EmbeddedServer
    database: str
    application: ApplicationFolder
    environ: dict[str, str]

    def settle(self, settings: str, database: str = "") -> None:
        """Write the settings; the DSN and what runs the application are for the caller to say."""
        admin = self.folder / "admin-dsn"
        admin.touch(mode=0o600)
        admin.write_text(self.server.conninfo("postgres").reveal())
        key = self.application.key_file
        (self.folder / "alexandria.toml").write_text(
            f"""\
repository = "snapshots"
state_dir = "state"
{settings}
[database]
{database}
admin_dsn_file = "admin-dsn"
client_tools = "{self.server.bin_dir}"
server_free_space = 1_000_000_000
fence_timeout_s = 20

[audit]
key_file = "{key}"
key_encoding = "raw"
""",
            encoding="utf-8",
        )
        (self.folder / "snapshots").mkdir()
        self.execute("CREATE TABLE public.attempts (n bigint PRIMARY KEY)")

    def run(self, *arguments: str) -> Ended:
        out, err = io.StringIO(), io.StringIO()
        with (
            surroundings(self.folder, self.environ),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = invoke(list(arguments))
        return Ended(returncode=int(code), stdout=out.getvalue(), stderr=err.getvalue())

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "alexandria_backup", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.environ},
        )

    def snapshot_and_damage(self) -> None:
        """Take a snapshot by the paper recipe, then lose a table's rows."""
        taken = self.run("snapshot", "create", "--file", "snapshots")
        assert taken.returncode == 0, taken.stderr
        self.execute("DELETE FROM public.agent_tools; DELETE FROM public.tools")

    @property
    def snapshot(self) -> str:
        (found,) = (self.folder / "snapshots").glob("*.pgdump")
        return str(found)

    def tools(self) -> int:
        """How many rows the table has that was emptied."""
        count: int = self.execute("SELECT count(*) FROM public.tools")[0][0]
        return count

    def is_up(self) -> bool:
        port = self.application.port_file
        return port.exists() and ReadinessProbe(url=self.application.url()).is_ready()

    def end(self, ending: str) -> bool:
        """Resume or abort the run that waits; return whether the snapshot is in use now."""
        run = self.waiting_run()
        if run is None:
            return self.run("run", "list").stdout.count("restore-") == 1
        words = ("run", "resume", run, "--yes") if ending == "resume" else ("run", "abort", run)
        ended = self.run(*words)
        assert ended.returncode in {0, 3}, ended.stderr
        return ending == "resume"

    def waiting_run(self, runbook: str = "restore") -> str | None:
        """The run that has not ended, if there is one."""
        lines = self.run("run", "list").stdout.splitlines()
        waiting = [line for line in lines if "waits" in line and f"{runbook}-" in line]
        return waiting[0].split()[0] if waiting else None

    def execute(self, statement: str | sql.Composed, database: str | None = None) -> list[Any]:
        conninfo = self.server.conninfo(database or self.database).reveal()
        with psycopg.connect(conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def databases(self) -> list[str]:
        rows = self.execute("SELECT datname FROM pg_database ORDER BY 1", "postgres")
        return [name for (name,) in rows if name.startswith(self.database)]

    def attempts(self) -> set[int]:
        """What the stubborn writer has written, into whatever had the name then."""
        found = set()
        for name in self.databases():
            self._open(name)
            schemas = "SELECT schemaname FROM pg_tables WHERE tablename = 'attempts'"
            for (schema,) in self.execute(schemas, name):
                query = sql.SQL("SELECT n FROM {}").format(sql.Identifier(schema, "attempts"))
                found |= {n for (n,) in self.execute(query, name)}
        return found

    def clear(self) -> None:
        control.stop(self.application)
        for name in self.databases():
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            with psycopg.connect(
                self.server.conninfo("postgres").reveal(), autocommit=True
            ) as connection:
                connection.execute(drop)

    def _open(self, database: str) -> None:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(database))
        with psycopg.connect(
            self.server.conninfo("postgres").reveal(), autocommit=True
        ) as connection:
            connection.execute(allow)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the limit only ends a test that fails anyway."""
    for _ in range(1500):
        if holds():
            return
        time.sleep(0.02)
    pytest.fail("it never came to hold")


def killed_at(deployed: Deployed, seq: int, moment: str, runbook: str = "restore") -> None:
    """Restore the newest snapshot, or roll back, and die at a line of the journal.

    See `killed_run.py`.
    """
    ended = subprocess.run(
        [
            *(sys.executable, str(Path(__file__).parent / "killed_run.py")),
            *(str(deployed.folder / "alexandria.toml"), runbook, str(seq), moment),
        ],
        input=RestoreChoices().model_dump_json(),
        capture_output=True,
        text=True,
        env={**os.environ, **deployed.environ},
        timeout=120,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@contextmanager
def stubborn_writer(deployed: Deployed, user: str | None = None) -> Iterator[set[int]]:
    """Write through everything, as a client that nobody stops; yield what was acknowledged.

    A lost connection is made anew, a refused one is tried again. An answer that was lost is no
    acknowledgement.
    """
    ended = threading.Event()
    acknowledged: set[int] = set()
    conninfo = deployed.server.conninfo(deployed.database, user=user).reveal()

    def write() -> None:
        number = 0
        while not ended.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection,
            ):
                while not ended.wait(0.005):
                    number += 1
                    connection.execute("INSERT INTO public.attempts VALUES (%s)", (number,))
                    acknowledged.add(number)
            ended.wait(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield acknowledged
    finally:
        ended.set()
        thread.join()
