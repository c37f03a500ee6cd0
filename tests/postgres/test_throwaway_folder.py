"""A throwaway folder goes with its process; what is in use, or not ours, is left alone."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.postgres.throwaway_folder import (
    LOADS,
    PREFIX,
    SERVERS,
    held_folder,
    remove_left_over,
    temporary_folder,
    throwaway_folder,
)

_DIES = """
import os, signal, sys
from pathlib import Path
from alexandria_backup.postgres.throwaway_folder import throwaway_folder
with throwaway_folder(Path(sys.argv[1])) as folder:
    (folder / "data").mkdir()
    (folder / "data" / "rows").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(base: Path) -> Path:
    """What a killed process leaves."""
    subprocess.run([sys.executable, "-c", _DIES, str(base)], check=False)
    (folder,) = base.iterdir()
    return folder


def test_it_is_there_and_then_it_is_not(tmp_path: Path) -> None:
    with throwaway_folder(tmp_path / "new" / "base") as folder:
        assert folder.name.startswith(PREFIX)
        (folder / "file").write_text("x")
        (folder / "link").symlink_to(tmp_path)
    assert list((tmp_path / "new" / "base").iterdir()) == []
    assert tmp_path.is_dir()


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    left = killed(tmp_path)
    assert (left / "data" / "rows").exists()
    with throwaway_folder(tmp_path) as mine:
        assert remove_left_over(tmp_path) == (left,)
        assert list(tmp_path.iterdir()) == [mine]
    assert remove_left_over(tmp_path) == ()


def test_what_is_in_use_is_left_alone(tmp_path: Path) -> None:
    with throwaway_folder(tmp_path) as mine:
        assert remove_left_over(tmp_path) == ()
        assert mine.is_dir()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}without-a-lock").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    if os.geteuid() == 0:
        strange = tmp_path / f"{PREFIX}of-another-user"
        strange.mkdir()
        (strange / "lock").touch()
        os.chown(strange, 65534, 65534)
    before = sorted(tmp_path.rglob("*"))
    assert remove_left_over(tmp_path) == ()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_base_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(PrecheckRefused, match="no folder for a throwaway server"),
        throwaway_folder(tmp_path / "file" / "below"),
    ):
        pass
    assert remove_left_over(tmp_path / "file" / "below") == ()


def test_what_a_killed_load_has_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # What somebody else calls alike is no matter of ours: it may be a backup.
    kept = tmp_path / "alexandria-ee-20261123T120000.pgdump"
    kept.touch()
    left = held_folder(tmp_path, LOADS)
    (left.path / "archive.pgdump").touch()
    with temporary_folder() as mine:
        assert sorted(tmp_path.iterdir()) == sorted([kept, left.path, mine])
    os.close(left.lock)
    with temporary_folder() as mine:
        assert sorted(tmp_path.iterdir()) == sorted([kept, mine])
        assert mine.stat().st_mode & 0o777 == 0o700


def test_data_that_a_server_kept_are_left_alone(tmp_path: Path) -> None:
    left = held_folder(tmp_path, SERVERS)
    (left.path / "data").mkdir()
    os.close(left.lock)
    assert remove_left_over(tmp_path, SERVERS) == ()
    assert left.path.exists()
