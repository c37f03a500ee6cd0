"""A node as an operator has it: configuration, tools and a knowledge store, and no database."""

import json
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle_support import tree
from site_support import Ended, run_program

from alexandria_backup.events import discard
from alexandria_backup.wiring.wiring import Wiring


@dataclass(kw_only=True)
class Node:
    """One machine, all of which lies below a folder; `/` is the machine's own for all that."""

    folder: Path
    extra: str = ""
    bundle: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "alexandria.toml"

    @property
    def etc(self) -> Path:
        return self.folder / "etc" / "alexandria"

    @property
    def unit(self) -> Path:
        return self.folder / "units" / "alexandria-api.container"

    @property
    def knowledge(self) -> Path:
        return self.folder / "data" / "knowledge"

    @property
    def output(self) -> Path:
        return self.folder / "bundle.tar.gz"

    def settle(self) -> None:
        for path in (self.etc, self.unit.parent, self.knowledge, self.folder / "data" / "tools"):
            path.mkdir(parents=True)
        (self.etc / "app.yaml").write_text("port: 8443\n", encoding="utf-8")
        (self.etc / "tls.key").write_text("a key of the application's\n", encoding="utf-8")
        (self.etc / "tls.key").chmod(0o600)
        self.unit.write_text("[Container]\nImage=quay.io/alexandria:2.7.1\n", encoding="utf-8")
        (self.folder / "data" / "tools" / "run.sh").write_text("#!/bin/sh\n", encoding="utf-8")
        (self.knowledge / "vectors.faiss").write_bytes(bytes(range(256)) * 8_000)
        with closing(sqlite3.connect(self.knowledge / "store.db")) as connection:
            connection.execute("CREATE TABLE documents (id INTEGER, text TEXT)")
            connection.execute("INSERT INTO documents VALUES (1, 'one')")
            connection.commit()
        log = self.folder / "platform.log"
        words = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"]
        commands = {verb: json.dumps([*words, str(log), f"{verb}\n"]) for verb in ("stop", "start")}
        settings = "".join(f"{key} = {value}\n" for key, value in self.bundle.items())
        self.config.write_text(
            f"""\
state_dir = "{self.folder}/state"
{self.extra}
[application]
platform = "unmanaged"
stop_command = {commands["stop"]}
start_command = {commands["start"]}
[bundle]
staging_dir = "{self.folder}"
{settings}
[bundle.sets]
config = ["{self.etc}", "{self.unit.parent}/alexandria*"]
knowledge = ["{self.knowledge}"]
tools = ["{self.folder}/data/tools", "{self.folder}/data/agents"]
""",
            encoding="utf-8",
        )

    def run(self, *arguments: str, environ: dict[str, str] | None = None) -> Ended:
        return run_program(self.folder, self.config, arguments, environ=environ)

    def done(self, *arguments: str) -> Ended:
        """Run a command that must end well."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    def result(self, *arguments: str) -> Any:
        """Run a command that must end well, and return its document."""
        return last_result(self.done(*arguments, "--json").stdout)

    def wiring(self) -> Wiring:
        return Wiring.load(
            config=self.config, environ={}, cwd=self.folder, dsn_file=None, emit=discard
        )

    def state(self) -> dict[str, Any]:
        """Return all that a restore must bring back; kept and new paths are not among it."""
        found: dict[str, Any] = {}
        for path in (self.etc, self.unit, self.knowledge, self.folder / "data" / "tools"):
            found |= {f"{path}/{name}": said for name, said in tree(path).items()}
        database = self.knowledge / "store.db"
        # The online backup keeps what is in a database, and not each byte of its header.
        found[f"{self.knowledge}/store.db"] = _dump(database)
        return found

    def leftovers(self) -> list[str]:
        """Return the names that runs have put beside what is in use."""
        return sorted(p.name for p in self.folder.rglob(".*alexandria-*"))

    def wreck(self) -> None:
        (self.etc / "app.yaml").write_text("port: wrong\n", encoding="utf-8")
        (self.etc / "stray").touch()
        self.unit.unlink()
        (self.knowledge / "store.db").write_bytes(b"")

    @property
    def platform_log(self) -> list[str]:
        log = self.folder / "platform.log"
        return log.read_text(encoding="utf-8").split() if log.exists() else []


def _dump(database: Path) -> tuple[int, list[str]]:
    with closing(sqlite3.connect(database)) as connection:
        return database.stat().st_mode, list(connection.iterdump())


def last_result(stdout: str) -> Any:
    documents: Sequence[Any] = [json.loads(line) for line in stdout.splitlines()]
    return [d["result"] for d in documents if d["event"] == "result"][-1]
