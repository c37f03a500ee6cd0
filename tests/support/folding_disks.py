"""A fixture: file systems that take upper and lower case for one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest


@pytest.fixture(params=["ext4", "exfat"])
def folding_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder where `a` and `A` are one; on exFAT there are no owners, permissions or links."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    make = _ext4 if request.param == "ext4" else _exfat
    with ExitStack() as stack:
        yield make(image, place, stack)


def _ext4(image: Path, place: Path, stack: ExitStack) -> Path:
    if not Path("/sys/fs/ext4/features/casefold").exists():
        pytest.skip("this kernel's ext4 does not know how to fold case")
    _run("mkfs.ext4", "-q", "-O", "casefold", str(image))
    _run("mount", "-o", "loop", str(image), str(place))
    stack.callback(_run, "umount", str(place))
    (place / "folds").mkdir()
    _run("chattr", "+F", str(place / "folds"))
    return place / "folds"


def _exfat(image: Path, place: Path, stack: ExitStack) -> Path:
    """exFAT by FUSE, since hardly any server's kernel has it."""
    missing = [p for p in ("mkfs.exfat", "mount.exfat-fuse", "losetup") if not shutil.which(p)]
    if missing or not Path("/dev/fuse").exists():
        pytest.skip(f"exFAT by FUSE is not here: {missing or '/dev/fuse'}")
    _run("mkfs.exfat", str(image))
    device = _run("losetup", "--find", "--show", str(image)).strip()
    stack.callback(_run, "losetup", "--detach", device)
    _run("mount.exfat-fuse", device, str(place))
    stack.callback(_run, "umount", str(place))
    return place


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
