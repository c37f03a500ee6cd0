"""What becomes of a snapshot whose worker processes end before it does."""

import multiprocessing
import os
import signal

import pytest
from copying_support import Desk

from alexandria_backup.errors import StatementFailed


def test_a_worker_that_the_kernel_kills_ends_the_snapshot_with_a_word(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexandria_backup.copying.take_snapshot._PROCESSES_ABOVE_BYTES", 0)
    desk.sql("CREATE TABLE notes AS SELECT i, repeat(md5(i::text), 9) FROM generate_series(1, 3000)"
             " AS i")  # fmt: skip
    desk.jobs = 2

    def kill(*_: object) -> None:
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGKILL)

    with pytest.raises(StatementFailed, match="was killed") as raised:
        desk.take(stored=kill)
    assert "out-of-memory" in (raised.value.hint or "")
    assert multiprocessing.active_children() == []
