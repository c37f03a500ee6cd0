"""Runs that are killed in a process of their own, and then resumed or aborted."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from site_support import Site

from alexandria_backup.runbooks.restore_state import RestoreChoices
from alexandria_backup.runbooks.transition import Phase

_PROGRAM = Path(__file__).parent / "killed_run.py"


def points(transitions: int, moments: tuple[str, ...]) -> list[tuple[int, str]]:
    """Every transition; nothing has happened before the first line is written."""
    return [
        (seq, moment)
        for seq in range(1, transitions + 1)
        for moment in moments
        if (seq, moment) != (1, "before")
    ]


def ran(
    site: Site, runbook: str, seq: int, moment: str, choices: RestoreChoices | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run in a process of its own."""
    return subprocess.run(
        [sys.executable, str(_PROGRAM), str(site.config), runbook, str(seq), moment],
        input=(choices or RestoreChoices()).model_dump_json(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def killed(
    site: Site, runbook: str, seq: int, moment: str, choices: RestoreChoices | None = None
) -> None:
    """Run in a process of its own, which must die of SIGKILL."""
    ended = ran(site, runbook, seq, moment, choices)
    if moment == "session" and ended.returncode == 0:
        pytest.skip(f"a {runbook} opens fewer than {seq} sessions")
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def end(site: Site, runbook: str, ending: str) -> str:
    """Resume or abort the run that waits; return its id."""
    (run,) = [r.run for r in site.wiring().runs.all() if r.run.startswith(f"{runbook}-")]
    last = site.wiring().runs.journal(run).last
    if last.over:
        assert last.phase is Phase.FINISHED
        return run
    result = site.run("run", ending, run, *(("--yes",) if ending == "resume" else ()))
    assert result.returncode == 0, result.stderr
    return run
