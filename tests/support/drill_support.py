"""A site whose snapshots are drilled, and a look at what a drill has left behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from oracle_support import snapshot
from site_support import Ended, Site

#: A query that lasts until the drill is interrupted or killed.
WAIT = "SELECT pg_sleep(120) IS NULL"
_PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Range:
    """A site with a folder for drills."""

    site: Site
    #: Where drills keep their servers: open enough for the user as whom root's servers run.
    folder: Path

    def settle(self) -> None:
        with self.site.config.open("a", encoding="utf-8") as config:
            config.write(f'[drill]\nfolder = "{self.folder}"\n')

    def checks(self, **queries: str) -> None:
        """Set the checks; the last table of the file."""
        lines = [f"{name} = {json.dumps(query)}" for name, query in queries.items()]
        with self.site.config.open("a", encoding="utf-8") as config:
            config.write("\n".join(("[drill.checks]", *lines, "")))

    def use_server(self, conninfo: str) -> None:
        """Drill on a given server."""
        self.site.write_secret("drill-dsn", conninfo)
        text = self.site.config.read_text(encoding="utf-8")
        more = 'server = "dsn"\ndsn_file = "drill-dsn"\n'
        self.site.config.write_text(text.replace("[drill]\n", f"[drill]\n{more}"), encoding="utf-8")

    def snapshot(self) -> None:
        snapshot(self.site)

    def drill(self, *arguments: str, environ: dict[str, str] | None = None) -> Ended:
        """Drill, and see that nothing is left, however it ended."""
        before = private_folders()
        ended = self.site.run("snapshot", "drill", *arguments, environ=environ)
        self.assert_clean()
        assert private_folders() == before
        return ended

    def drilled(self, *arguments: str) -> Ended:
        """Drill, and expect that all is well."""
        ended = self.drill(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    def newest(self) -> dict[str, Any]:
        """The newest snapshot as the list has it."""
        listed = self.site.run("snapshot", "list", "--json")
        line: dict[str, Any] = json.loads(listed.stdout.splitlines()[0])["result"][-1]
        return line

    def start(self, step: str = "check") -> subprocess.Popen[bytes]:
        """Start a drill as a process of its own, and return when it begins a step."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "alexandria_backup"),
                *("--config", str(self.site.config), "snapshot", "drill", "--json"),
            ],
            cwd=self.site.folder,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            assert event["event"] != "error", event
            if (event["event"], event.get("step")) == ("step_started", step):
                return process
        raise AssertionError(f"the drill ended before its step `{step}`")

    def left(self) -> list[str]:
        """What is left of drills on this machine: folders, and servers that run in them."""
        servers = [
            f"process {process.pid}"
            for process in psutil.process_iter()
            if _stands_in(process, self.folder)
        ]
        return [*sorted(path.name for path in self.folder.iterdir()), *servers]

    def assert_clean(self) -> None:
        assert self.left() == []

    def databases(self) -> list[str]:
        """The databases of drills on the site's server."""
        rows = self.site.sql(
            "SELECT datname FROM pg_database WHERE datname ~ '^alexandria_(drill|new)_' ORDER BY 1",
            database="postgres",
        )
        return [name for (name,) in rows]


@contextmanager
def drills_of(site: Site) -> Iterator[Range]:
    """Let a site be drilled."""
    with tempfile.TemporaryDirectory(prefix="drills-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        found = Range(site=site, folder=folder)
        found.settle()
        yield found


def guard_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The guard of the server that a drill has started."""
    children = psutil.Process(process.pid).children()
    (guard,) = [child for child in children if "embedded_guard" in " ".join(child.cmdline())]
    return guard


def kill(process: subprocess.Popen[bytes]) -> None:
    """Let a drill die without a word."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.05)


def private_folders() -> set[Path]:
    """The folders of servers and loads, of this test's process and of others."""
    return set(Path(tempfile.gettempdir()).glob("alexandria-*"))


def _stands_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False
