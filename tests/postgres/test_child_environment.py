"""What PostgreSQL's programs are started with, and what is left of it: nothing."""

import os
import subprocess
import tempfile
from pathlib import Path

from alexandria_backup.postgres.child_environment import child_environment
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.secret import Secret

DSN = Dsn.parse(Secret("host=/tmp dbname=shop user=ada password=hunter2"))


def left_by(pid: int) -> Path:
    """Make the folder that a process of this number would have left if it was killed."""
    folder = Path(tempfile.gettempdir()) / f"alexandria-child-{pid}-left"
    folder.mkdir(mode=0o700)
    (folder / "password").write_text("*:*:*:*:hunter2", encoding="utf-8")
    return folder


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    dead, living = left_by(ended.pid), left_by(os.getpid())
    try:
        with child_environment(DSN, purpose="test") as environment:
            password_file = Path(environment.variables["PGPASSFILE"])
            assert password_file.stat().st_mode & 0o077 == 0
            assert not dead.exists()
            assert living.exists()
        assert not password_file.exists()
    finally:
        (living / "password").unlink()
        living.rmdir()
