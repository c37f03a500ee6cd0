import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.cli.commands import COMMANDS, needed

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
    "arguments",
    [[], ["--help"], ["snapshot"], ["snapshot", "--help"], ["restore", "--help"], ["restroe"]],
)
def test_whoever_looks_for_a_command_sees_all(arguments: list[str]) -> None:
    assert needed(arguments) == tuple(COMMANDS)


def test_the_version_waits_for_no_room() -> None:
    program = (
        "import sys; from alexandria_backup.cli.main import invoke; "
        "code = invoke(['--version']); "
        "print(sorted({'psycopg', 'httpx', 'obstore', 'cryptography'} & set(sys.modules))); "
        "sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"


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
