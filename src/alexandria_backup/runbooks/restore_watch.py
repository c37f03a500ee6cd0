"""Watching a load: how large the shadow and the WAL grow, and what room the server has left.

A server whose disk is full stops every application on it, and one that cannot write its WAL stops
altogether. A load ends before that.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from alexandria_backup.errors import AlexandriaError, ServerSpaceShort
from alexandria_backup.events import Emit, Progress
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.growth import Growth, look
from alexandria_backup.postgres.queries import load as queries
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import Grown
from alexandria_backup.runbooks.servers import Servers

#: Seconds between two looks.
_LOOK_S: Final = 1.0


class LoadWatch:
    """What was seen of one load."""

    def __init__(self, parts: RestoreParts, database: str, work: str) -> None:
        self._servers: Servers = parts.servers
        self._stated_free = parts.server_free_bytes
        self._reserve = parts.server_reserve_bytes
        self._emit: Emit = parts.emit
        self._database = database
        self._work = work
        self._first: Growth | None = None
        self._seen: list[Growth] = []
        self._short: Growth | None = None

    @property
    def grown(self) -> Grown:
        """The most and the least that was seen."""
        first = self._first.wal if self._first else None
        wal = [
            seen.wal - first for seen in self._seen if seen.wal is not None and first is not None
        ]
        return Grown(
            shadow_bytes=max((seen.database for seen in self._seen), default=None),
            wal_bytes=max(0, *wal) if wal else None,
            least_free_bytes=min((s.free for s in self._seen if s.free is not None), default=None),
        )

    def look(self, maintenance: Session) -> None:
        """Look once; where the reserve is touched, end the sessions that load."""
        seen = look(maintenance, self._database, stated_free=self._stated_free, first=self._first)
        self._first = self._first or seen
        self._seen.append(seen)
        self._emit(Progress(work=self._work, done=seen.database, total=None, unit="bytes"))
        if seen.free is not None and seen.free < self._reserve:
            self._short = self._short or seen
        if self._short is not None:
            maintenance.execute(queries("load")["end_sessions_in"], [self._database])

    def look_until(self, ended: threading.Event) -> None:
        """Look once a second; whoever watches must not decide over what is watched."""
        while not ended.is_set():
            with suppress(AlexandriaError), self._servers.maintenance() as session:
                while not ended.is_set():
                    self.look(session)
                    ended.wait(_LOOK_S)
            ended.wait(_LOOK_S)

    def last_look(self) -> None:
        """Look at what the load has left."""
        with suppress(AlexandriaError), self._servers.maintenance() as session:
            self.look(session)

    def refuse_short(self) -> None:
        """Raise ServerSpaceShort where the reserve was touched."""
        if self._short is None:
            return
        wal = "" if self._short.wal is None else f", the WAL {self._short.wal:,}"
        raise ServerSpaceShort(
            f"the server has {self._short.free:,} bytes free, and {self._reserve:,} must stay: "
            f"`{self._database}` has {self._short.database:,} bytes{wal}; the load was stopped",
            hint="free space on the server, or set `[database] server_reserve`",
        )


@contextmanager
def watched(parts: RestoreParts, database: str, work: str) -> Iterator[LoadWatch]:
    """Watch a load; raises ServerSpaceShort, instead of what the load raises, where room ends."""
    watch = LoadWatch(parts, database, work)
    ended = threading.Event()
    watcher = threading.Thread(target=watch.look_until, args=(ended,), name="watch", daemon=True)
    watcher.start()
    try:
        yield watch
    except AlexandriaError as error:
        _end(ended, watcher)
        try:
            watch.refuse_short()
        except ServerSpaceShort as short:
            raise short from error
        raise
    finally:
        _end(ended, watcher)
    watch.last_look()
    watch.refuse_short()


def _end(ended: threading.Event, watcher: threading.Thread) -> None:
    ended.set()
    watcher.join()
