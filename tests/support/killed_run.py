"""Run a restore or a rollback and die, by SIGKILL, at one transition of its journal.

    python killed_run.py CONFIG restore|rollback SEQ before|after

`before` dies when the deed is done and its line is not yet written; `after` when the line is
written and the deed is not yet begun.
"""

import os
import signal
import sys
from pathlib import Path

from alexandria_backup.events import discard
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.wiring import Wiring


class DeadlyStore(LocalStore):
    """The state folder of a process that dies at its nth transition."""

    def __init__(self, root: Path, runbook: str, seq: int, moment: str) -> None:
        super().__init__(root)
        self._runbook = runbook
        self._seq = seq
        self._moment = moment

    def put(self, name: str, data: bytes) -> None:
        deadly = name.startswith(f"runs/{self._runbook}-") and name.endswith(f"{self._seq:06}.json")
        if deadly and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().put(name, data)
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    config, runbook, seq, moment = sys.argv[1:]
    wiring = Wiring.load(
        config=Path(config), environ={}, cwd=Path(config).parent, dsn_file=None, emit=discard
    )
    state_dir = wiring.settings.state_dir
    state_dir.mkdir(exist_ok=True)
    # The state folder alone: a journal that another machine does not have must do.
    object.__setattr__(wiring, "state", DeadlyStore(state_dir, runbook, int(seq), moment))
    if runbook == "rollback":
        wiring.rollback(None, plan=False).run(lambda _: None)
    else:
        wiring.restore(
            "latest",
            to_database=None,
            stop_first=False,
            no_owner=False,
            yes_different=False,
            accept_chain=False,
            jobs=2,
            reason=None,
        ).run(lambda _: None)


if __name__ == "__main__":
    main()
