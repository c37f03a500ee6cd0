"""The demo as a buyer sees it: a process that ends with `demo: verified` and leaves nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest


def environ(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alexandria_backup", "demo", "--rows", "3000", *arguments],
        env=environ(folder),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def below(folder: Path) -> list[str]:
    """Processes that work for a demo in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in word for word in process.cmdline()):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "here"
    made.mkdir()
    return made


def test_it_ends_verified_and_leaves_nothing(folder: Path) -> None:
    process = started(folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.rstrip().endswith("demo: verified")
    assert "restore latest" in out
    assert list(folder.iterdir()) == []
    assert below(folder) == []


def test_keep_leaves_everything_to_look_at(folder: Path) -> None:
    process = started(folder, "--keep", "kept", "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert '"kept_in"' in out.splitlines()[-1]
    kept = folder / "kept"
    assert (kept / "alexandria.toml").exists()
    assert len(list((kept / "snapshots").glob("*.pgdump"))) == 2
    assert below(folder) == []
    again = started(folder, "--keep", "kept")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 2
    assert "overwrites nothing" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_leaves_no_process(folder: Path, number: signal.Signals) -> None:
    process = started(folder)
    assert process.stderr is not None
    for line in process.stderr:
        if "snapshot, read back" in line:
            break
    process.send_signal(number)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while below(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert below(folder) == []
    if number is not signal.SIGKILL:
        assert process.returncode == 130
        assert list(folder.iterdir()) == []
