import inspect
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.cli.commands import COMMANDS, GROUPS, needed
from alexandria_backup.errors import ExitCode

ALEXANDRIA = Path(sys.executable).with_name("alexandria")
VENDORS = {"cryptography", "httpx", "obstore", "psycopg", "pydantic", "rich"}
VALUES = st.text(max_size=12) | st.sampled_from([word for words in COMMANDS for word in words])


@given(
    st.sampled_from(list(COMMANDS)),
    st.lists(VALUES.map(lambda value: f"--config={value}"), max_size=2),
    st.lists(VALUES, max_size=3),
)
def test_a_command_is_there_whatever_stands_around_it(
    command: tuple[str, ...], before: list[str], after: list[str]
) -> None:
    assert command in needed([*before, *command, *after])
    assert command in needed(["--config", "file", *command, *after])


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], ["snapshot"], ["snapshot", "--help"], ["restroe"]]
)
def test_whoever_looks_for_a_command_waits_for_none(arguments: list[str]) -> None:
    assert needed(arguments) == ()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_listed_by_the_first_sentence_of_its_help(command: tuple[str, ...]) -> None:
    module = import_module(f"alexandria_backup.cli.{'_'.join(command)}")
    below = getattr(module, "app", None)
    said = below.info.help if below else inspect.getdoc(module.command)
    assert " ".join(said.split("\n\n")[0].split()) == COMMANDS[command]


@pytest.mark.parametrize("group", [(), *{command[:1] for command in COMMANDS if command[1:]}])
def test_help_names_each_command_and_cuts_no_sentence(group: tuple[str, ...]) -> None:
    said = " ".join(_run(*group, "--help").stdout.split())
    for command, summary in COMMANDS.items():
        if command[:-1] == group and (group or command[0] not in GROUPS):
            assert f" {command[-1]} {summary}" in said


def test_a_shell_completes_the_options_of_a_command() -> None:
    ended = subprocess.run(
        [ALEXANDRIA],
        capture_output=True,
        text=True,
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "_ALEXANDRIA_COMPLETE": "complete_bash",
            "COMP_WORDS": "alexandria snapshot create --fu",
            "COMP_CWORD": "3",
        },
    )
    assert ended.stdout.split() == ["--full"]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_the_version_and_the_help_wait_for_no_room(arguments: list[str]) -> None:
    assert _loaded(arguments, VENDORS) == set()


@pytest.mark.parametrize("arguments", [["run", "list"], ["snapshot", "list"]], ids=" ".join)
def test_a_list_waits_for_nothing_that_talks_to_a_server(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXANDRIA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ALEXANDRIA_REPOSITORY", str(tmp_path))
    rooms = {f"alexandria_backup.{room}" for room in ("bundle", "cluster", "platforms", "postgres")}
    assert _loaded(arguments, {"httpx", "psycopg", "asyncio", "rich.progress", *rooms}) == set()


def test_a_snapshot_asks_no_cluster_and_no_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXANDRIA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ALEXANDRIA_REPOSITORY", str(tmp_path))
    monkeypatch.setenv("ALEXANDRIA_DSN", "postgresql://nobody@127.0.0.1:1/nothing")
    unused = {"httpx", "hvac", "kr8s", "rich.progress", "alexandria_backup.bundle"}
    away = ExitCode.DATABASE_UNREACHABLE
    assert _loaded(["snapshot", "create"], {"psycopg", *unused}, away) == {"psycopg"}


def test_a_bundle_waits_for_nothing_that_talks_to_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALEXANDRIA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ALEXANDRIA_BUNDLE__SETS", json.dumps({"config": [f"{tmp_path}/etc"]}))
    rooms = ("audit.chain", "cluster", "copying", "postgres", "repository")
    unused = {f"alexandria_backup.{room}" for room in rooms}
    assert _loaded(["backup"], {"httpx", "psycopg", "asyncio", *unused}) == set()


def test_a_list_of_runs_waits_for_no_cryptography(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXANDRIA_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ALEXANDRIA_REPOSITORY", str(tmp_path))
    assert _loaded(["run", "list"], {"cryptography", "pyrage", "blake3"}) == set()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ALEXANDRIA, *arguments], capture_output=True, text=True, check=True)


def _loaded(arguments: list[str], modules: set[str], code: int = 0) -> set[str]:
    """Run the program in a process of its own, and return which of the modules it imported."""
    program = (
        "import sys; from alexandria_backup.cli.main import invoke; "
        f"code = invoke({arguments!r}); "
        "print('', *sys.modules, file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code, ended.stderr
    return modules & set(ended.stderr.splitlines()[-1].split())


def test_an_interrupt_after_the_work_is_done_does_not_hide_what_was_done() -> None:
    """Python's own ending takes a moment, and a Ctrl-C in it is not for the program."""
    program = (
        "import atexit, os, signal, sys\n"
        "from alexandria_backup.cli.main import main\n"
        "for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
        "    atexit.register(os.kill, os.getpid(), name)\n"
        "sys.argv = ['alexandria', '--version']\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
