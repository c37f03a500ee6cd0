"""SIGKILL while a bundle is made or restored: what is in use is whole, both ways out end well."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from node_support import Node

_SUPPORT = Path(__file__).parent.parent / "support"
#: `started`, two for each of 7 steps, `finished`.
_RESTORE_TRANSITIONS = 16
#: `started`, two for each of 3 steps, `finished`.
_BACKUP_TRANSITIONS = 8
#: Two for each of 4 roots.
_RENAMES = 8


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(folder=tmp_path)
    made.settle()
    return made


def killed(node: Node, what: str, number: int, moment: str) -> None:
    """Run in a process of its own, which must die of SIGKILL."""
    ended = subprocess.run(
        [sys.executable, str(_SUPPORT / "killed_backup.py"), str(node.config), what, str(number),
         moment],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(_SUPPORT)},
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def end(node: Node, ending: str) -> bool:
    """Resume or abort the run that waits; return whether all of it was done."""
    runs = [run for run in node.wiring().runs.all() if run.run.startswith("backup")]
    newest = runs[-1]
    if newest.status != "waits":
        return newest.status == "done"
    node.done("run", ending, newest.run, *(("--yes",) if ending == "resume" else ()))
    return node.wiring().runs.all()[-1].status == "done"


def check_restore(node: Node, number: int, moment: str, ending: str) -> None:
    good = node.state()
    node.done("backup", "--output", str(node.output))
    node.wreck()
    wrecked = node.state() if node.unit.exists() else None
    killed(node, "restore", number, moment)
    done = end(node, ending)
    if done:
        assert node.state() == good
        assert all("-kept-" in name for name in node.leftovers())
    else:
        assert (node.etc / "stray").exists()
        assert not node.unit.exists()
        assert node.leftovers() == []
    assert wrecked is None
    # The application runs again wherever it was stopped.
    assert node.platform_log[-1:] in ([], ["start"])


SLICE = [(6, "after"), (12, "before"), (13, "after")]
EVERY = [
    (seq, moment)
    for seq in range(1, _RESTORE_TRANSITIONS + 1)
    for moment in ("before", "after")
    if (seq, moment) != (1, "before") and (seq, moment) not in SLICE
]


@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(
    ("number", "moment"),
    [*SLICE, *(pytest.param(*point, marks=pytest.mark.campaign) for point in EVERY)],
)
def test_a_killed_restore_ends_well(node: Node, number: int, moment: str, ending: str) -> None:
    check_restore(node, number, moment, ending)


@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(
    "number",
    [2, 5, *(pytest.param(n, marks=pytest.mark.campaign) for n in (1, 3, 4, 6, 7))],
)
def test_a_restore_killed_between_two_renames_ends_well(
    node: Node, number: int, ending: str
) -> None:
    check_restore(node, number, "rename", ending)


@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (5, "before"),
        (5, "after"),
        *(
            pytest.param(seq, moment, marks=pytest.mark.campaign)
            for seq in range(1, _BACKUP_TRANSITIONS + 1)
            for moment in ("before", "after")
            if (seq, moment) != (1, "before") and seq != 5
        ),
    ],
)
def test_a_killed_backup_leaves_a_whole_bundle_or_none(
    node: Node, number: int, moment: str, ending: str
) -> None:
    killed(node, "backup", number, moment)
    if end(node, ending):
        node.done("backup", "verify", str(node.output))
    elif node.output.exists():
        # Killed before the journal could say that it was made: then it is not known to be ours.
        node.done("backup", "verify", str(node.output))
