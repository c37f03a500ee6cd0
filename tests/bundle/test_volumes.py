"""Whether a volume is encrypted, told by the kernel's own files; here they are made up."""

import os
from pathlib import Path

import pytest

from alexandria_backup.bundle.volumes import is_encrypted


def block(sys: Path, path: Path, *, uuid: str | None, below: tuple[str | None, ...] = ()) -> None:
    """Describe the device of `path`, and what it is made of, as sysfs does."""
    device = path.stat().st_dev
    folder = sys / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}"
    for number, one in enumerate([None, *below]):
        place = folder if number == 0 else folder / "slaves" / f"dm-{number}"
        place.mkdir(parents=True)
        found = uuid if number == 0 else one
        if found is not None:
            (place / "dm").mkdir()
            (place / "dm" / "uuid").write_text(found, encoding="ascii")


@pytest.mark.parametrize(
    ("uuid", "below", "expected"),
    [
        ("CRYPT-LUKS2-1234-root", (), True),
        ("LVM-abcd", ("CRYPT-LUKS2-1234-pv",), True),
        ("LVM-abcd", ("CRYPT-LUKS2-1234-pv", None), False),
        ("LVM-abcd", (None,), False),
        (None, (), False),
    ],
    ids=["luks", "lvm-on-luks", "half-on-luks", "lvm", "partition"],
)
def test_a_volume_is_encrypted_where_all_below_it_is(
    tmp_path: Path, uuid: str | None, below: tuple[str | None, ...], expected: bool
) -> None:
    # What is temporary may lie in memory.
    disk = Path(__file__).parent
    if os.major(disk.stat().st_dev) == 0:
        pytest.skip("the tests lie on no block device")
    block(tmp_path / "sys", disk, uuid=uuid, below=below)
    there = is_encrypted(disk / "not" / "yet", sys=tmp_path / "sys", proc=tmp_path)
    assert there is expected


def test_what_cannot_be_known_is_said_so(tmp_path: Path) -> None:
    assert is_encrypted(tmp_path, sys=tmp_path / "nothing", proc=tmp_path / "nothing") is None
