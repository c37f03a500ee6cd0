"""A hot standby of an embedded server: a base backup that streams from it."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from alexandria_backup.postgres.embedded import EmbeddedServer


@contextmanager
def standby_of(
    primary: EmbeddedServer, folder: Path, settings: Mapping[str, str]
) -> Iterator[EmbeddedServer]:
    """Run a standby in `folder`, with the settings of its primary or larger ones."""
    folder.mkdir()
    folder.chmod(0o711)
    subprocess.run(
        [
            str(primary.bin_dir / "pg_basebackup"),
            f"--dbname={primary.conninfo('').reveal()}",
            f"--pgdata={folder / 'data'}",
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        ],
        check=True,
        env={"LC_ALL": "C"},
    )
    with EmbeddedServer.start(folder, major=primary.major, settings=settings) as standby:
        yield standby


def catch_up(primary: EmbeddedServer, standby: EmbeddedServer) -> None:
    """Wait until the standby has replayed what the primary has written by now."""
    with _connected(primary) as here, _connected(standby) as there:
        (written,) = here.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or ("",)
        # What is written last may not be flushed for a while.
        here.execute("CHECKPOINT")
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        deadline = time.monotonic() + 60
        while there.execute(replayed, (written,)).fetchone() != (True,):
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.02)


def _connected(server: EmbeddedServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(server.conninfo("postgres").reveal(), autocommit=True)
