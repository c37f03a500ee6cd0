"""Whether a folder lies on an encrypted volume, as far as Linux tells."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: How the kernel's device mapper names what dm-crypt (LUKS and the like) has made.
_CRYPT: Final = "CRYPT-"


def is_encrypted(
    path: Path, *, sys: Path = Path("/sys"), proc: Path = Path("/proc")
) -> bool | None:
    """Tell whether the volume of `path`, or all that it is made of, is dm-crypt's.

    None where that cannot be known: no block device, another system than Linux, a network share.
    """
    there = next((one for one in (path, *path.parents) if one.exists()), Path("/"))
    device = there.stat().st_dev
    if os.major(device) == 0:
        # A number that a file system has made up, as btrfs does: the mount names the device.
        device = _mounted(device, proc / "self" / "mountinfo") or 0
    block = sys / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    return _crypt(block) if device and block.exists() else None


def _crypt(block: Path) -> bool:
    uuid = block / "dm" / "uuid"
    if uuid.exists() and uuid.read_text(encoding="ascii", errors="replace").startswith(_CRYPT):
        return True
    below = list(_below(block))
    return bool(below) and all(_crypt(one) for one in below)


def _below(block: Path) -> Iterator[Path]:
    """Give what a volume is made of; for a partition its disk cannot be encrypted by itself."""
    slaves = block / "slaves"
    if slaves.is_dir():
        yield from sorted(slaves.iterdir())


def _mounted(device: int, mountinfo: Path) -> int | None:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split(" ")[2:3] == [wanted]:
            source = Path(after.split(" ")[1])
            return source.stat().st_rdev if source.is_block_device() else None
    return None
