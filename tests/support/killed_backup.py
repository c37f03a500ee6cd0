"""Make or restore a bundle and die, by SIGKILL, at one transition of its journal or rename.

    python killed_backup.py CONFIG backup|restore N before|after|rename

`before` dies when the deed of the nth line is done and the line is not yet written; `after` when
the line is written and the next deed is not yet begun; `rename` dies before the nth rename.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from node_support import Node

from alexandria_backup.storage.local import LocalStore


class DeadlyStore(LocalStore):
    """The state folder of a process that dies at its nth transition."""

    def __init__(self, root: Path, seq: int, moment: str) -> None:
        super().__init__(root)
        self._seq = seq
        self._moment = moment

    def put(self, name: str, data: bytes) -> None:
        deadly = name.startswith("runs/backup") and name.endswith(f"{self._seq:06}.json")
        if deadly and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().put(name, data)
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)


def deadly_rename(number: int) -> None:
    """Let this process die before its nth rename."""
    left, rename = [number], os.rename

    def deadly(*arguments: Any, **more: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*arguments, **more)

    os.rename = deadly


def main() -> None:
    config, what, number, moment = sys.argv[1:]
    node = Node(folder=Path(config).parent)
    wiring = node.wiring()
    state_dir = wiring.rooms.settings.state_dir
    state_dir.mkdir(exist_ok=True)
    if moment == "rename":
        deadly_rename(int(number))
    else:
        object.__setattr__(wiring.rooms, "state", DeadlyStore(state_dir, int(number), moment))
    if what == "backup":
        wiring.bundles.create(
            output=str(node.output), stdout=sys.stdout.buffer, overwrite=False, compress=None,
            recipients=(), redact=False, models=False, read_back=True,
        ).run(lambda _: None)  # fmt: skip
    else:
        wiring.bundle_restores.restore(str(node.output), to="/", sets=None).run(lambda _: None)


if __name__ == "__main__":
    main()
