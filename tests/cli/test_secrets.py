"""A password never shows: not in the process list, a journal, a document, a traceback or a file."""

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

PASSWORD = f"pä'ss\\w:rd {secrets.token_hex(4)}%"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Path]:
    """A folder with the settings of a database whose server asks for a password."""
    with EmbeddedServer.start(
        tmp_path / "pg", password=Secret(PASSWORD), settings={"fsync": "off"}
    ) as server:
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        conninfo = f"{server.conninfo().reveal()} password='{quoted}'"
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        with psycopg.connect(f"{conninfo} dbname=shop", autocommit=True) as connection:
            connection.execute("CREATE TABLE goods AS SELECT generate_series(1, 300000) AS id")
        dsn_file = tmp_path / "dsn"
        dsn_file.touch(mode=0o600)
        dsn_file.write_text(f"{conninfo} dbname=shop", encoding="utf-8")
        (tmp_path / "snapshots").mkdir()
        (tmp_path / "alexandria.toml").write_text(
            f"""\
repository = "snapshots"
state_dir = "state"
[database]
dsn_file = "dsn"
client_tools = "{server.bin_dir}"
""",
            encoding="utf-8",
        )
        yield tmp_path


def watched(folder: Path, *arguments: str, dsn: str | None = None) -> tuple[int, str, set[str]]:
    """Run the program; return exit code, output, and every command line seen meanwhile."""
    seen: set[str] = set()
    environ = {**os.environ, **({"ALEXANDRIA_DSN": dsn} if dsn else {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "alexandria_backup", *arguments],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
            ended.wait(0.005)

    watcher = threading.Thread(target=look)
    watcher.start()
    output, _ = process.communicate(timeout=120)
    ended.set()
    watcher.join()
    return process.returncode, output, seen


def test_a_restore_shows_the_password_nowhere(guarded: Path) -> None:
    code, output, lines = watched(guarded, "snapshot", "create", "--json")
    assert code == 0, output
    texts = [output]
    for arguments in (("restore", "latest", "--plan"), ("restore", "latest", "--yes", "--json")):
        code, output, more = watched(guarded, *arguments)
        assert code == 0, output
        texts.append(output)
        lines |= more
    assert any("pg_dump" in line for line in lines), "the dump was never seen running"
    assert any("pg_restore" in line for line in lines), "the restore was never seen running"
    texts += lines
    for path in guarded.rglob("*"):
        if path.is_file() and path.name != "dsn" and "pg" not in path.relative_to(guarded).parts:
            texts.append(path.read_bytes().decode(errors="replace"))
    spelled = {PASSWORD, json.dumps(PASSWORD)[1:-1], PASSWORD.replace("\\", "\\\\")}
    assert not [text for text in texts for way in spelled if way in text]


def test_files_of_ours_are_for_their_owner_alone(guarded: Path) -> None:
    code, output, _ = watched(guarded, "snapshot", "create")
    assert code == 0, output
    ours = [*(guarded / "snapshots").rglob("*"), *(guarded / "state").rglob("*")]
    assert ours
    open_to_others = [path for path in ours if path.stat().st_mode & 0o077]
    # The folder of the repository was made by the operator.
    assert open_to_others == []


@pytest.mark.parametrize("dsn", ["postgresql://u:{0}@h:x/d", "password={0}' host=h", "{0}"])
def test_a_malformed_dsn_is_not_quoted(tmp_path: Path, dsn: str) -> None:
    word = secrets.token_hex(8)
    code, output, _ = watched(tmp_path, "doctor", "--json", dsn=dsn.format(word))
    assert code == 12
    assert word not in output
