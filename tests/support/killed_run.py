"""Run a restore or a rollback and die, by SIGKILL, at one transition of its journal.

    python killed_run.py CONFIG restore|rollback N before|after|session|rows

`before` dies when the deed of the nth line is done and the line is not yet written; `after` when
the line is written and the next deed is not yet begun; `session` dies inside of a deed, where the
nth session with the server would be opened; `rows` where the nth rows of a repository's snapshot
would be loaded, when all of its small tables are in. Standard input has `RestoreChoices`.
"""

import itertools
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from alexandria_backup.copying.load_rows import RowsLoad
from alexandria_backup.events import discard
from alexandria_backup.postgres.connect import Session
from alexandria_backup.runbooks.restore_state import RestoreChoices
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.wiring.wiring import Wiring


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


class DeadlyServers(Servers):
    """A server whose client dies where it would open its nth session."""

    def open(self, name: str, purpose: str) -> Session:
        left = os.environ["SESSIONS_LEFT"] = str(int(os.environ["SESSIONS_LEFT"]) - 1)
        if left == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open(name, purpose)


def die_at_rows(number: int) -> None:
    """Let the process die where it would load rows for the nth time."""
    copy_in, load_base = RowsLoad._copy_in, RowsLoad._load_base
    count = itertools.count(1)
    base = threading.Event()

    def deadly(self: Any, table: Any, place: int) -> Any:
        if self._base is None:
            base.set()
        if next(count) >= number:
            # What pg_restore loads cannot be gone on with half-way.
            base.wait()
            os.kill(os.getpid(), signal.SIGKILL)
        return copy_in(self, table, place)

    def noticed(self: Any, keep: Any) -> None:
        load_base(self, keep)
        base.set()

    RowsLoad._copy_in = deadly  # type: ignore[method-assign]
    RowsLoad._load_base = noticed  # type: ignore[method-assign]


def main() -> None:
    config, runbook, seq, moment = sys.argv[1:]
    wiring = Wiring.load(
        config=Path(config), environ={}, cwd=Path(config).parent, dsn_file=None, emit=discard
    )
    state_dir = wiring.rooms.settings.state_dir
    state_dir.mkdir(exist_ok=True)
    if moment == "session":
        os.environ["SESSIONS_LEFT"] = seq
        given = wiring.rooms.servers
        deadly = DeadlyServers(
            application=given.application,
            administrator=given.administrator,
            timeouts=given.timeouts,
        )
        object.__setattr__(wiring.rooms, "servers", deadly)
    elif moment == "rows":
        die_at_rows(int(seq))
    else:
        # The state folder alone: a journal that another machine does not have must do.
        object.__setattr__(wiring.rooms, "state", DeadlyStore(state_dir, runbook, int(seq), moment))
    if runbook == "rollback":
        wiring.restores.rollback(None, plan=False).run(lambda _: None)
    else:
        choices = RestoreChoices.model_validate_json(sys.stdin.read())
        wiring.restores.restore("latest", choices).run(lambda _: None)


if __name__ == "__main__":
    main()
