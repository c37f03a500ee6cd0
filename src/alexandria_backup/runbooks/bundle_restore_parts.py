"""What the steps of a bundle's restore share."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from alexandria_backup.bundle.opened import OpenedBundle
from alexandria_backup.bundle.reader import BundleRead
from alexandria_backup.errors import BundleDamaged
from alexandria_backup.events import Emit
from alexandria_backup.runbooks.step import shell
from alexandria_backup.runbooks.switch_application import Application
from alexandria_backup.sealing.signing import TrustedKey


@dataclass(frozen=True, kw_only=True)
class BundleRestoreParts:
    """What the steps of a restore work with."""

    bundle: OpenedBundle
    trusted: tuple[TrustedKey, ...]
    application: Callable[[], Application]
    emit: Emit


def is_live(to: str) -> bool:
    """Tell whether a restore goes to the machine's own place."""
    return os.path.normpath(to) == "/"


def refuse_differences(found: BundleRead, where: str) -> None:
    """Raise BundleDamaged where members are not what the manifest says."""
    if found.differences:
        raise BundleDamaged(
            f"{len(found.differences):,} members of `{where}` are not what its manifest says, "
            f"such as: {found.differences[0]}",
            hint=shell("alexandria", "backup", "verify", where),
        )
