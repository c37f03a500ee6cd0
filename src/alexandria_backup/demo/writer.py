"""The stand-in's writer: it appends messages and audit rows, whatever happens to its connection."""

import json
import logging
import threading

from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.demo.audit_tip import tip_is_sound
from alexandria_backup.demo.sessions import open_session
from alexandria_backup.errors import AlexandriaError, AuditUnverified
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.dsn import Dsn

_log = logging.getLogger("alexandria.demo")

#: Seconds between two attempts to come back to a database that is away.
_PAUSE_S = 0.2
_OPEN_SESSIONS = """
SELECT s.id::text, u.email, a.name
FROM public.sessions AS s
JOIN public.users AS u ON u.id = s.user_id
JOIN public.agents AS a ON a.id = s.agent_id
WHERE s.ended_at IS NULL ORDER BY s.id LIMIT 50
"""
_MESSAGE = """
INSERT INTO public.messages (session_id, role, content) VALUES (%s, 'user', %s) RETURNING id
"""


class Writer(threading.Thread):
    """Writes until it is stopped; each write is a message and the audit row that tells of it."""

    def __init__(self, dsn: Dsn, *, key: bytes, writes_per_second: float) -> None:
        super().__init__(name="writer")
        self._dsn = dsn
        self._key = key
        self._pause_s = 1 / writes_per_second if writes_per_second > 0 else None
        self._ended = threading.Event()

    def stop(self) -> None:
        """Let the write at hand end, and wait for it."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Write on one connection after the other."""
        complained = False
        while not self._ended.is_set():
            try:
                with open_session(self._dsn, part="writer") as session:
                    table = self._find_chain(session)
                    complained = False
                    self._write_on(session, table)
            except AlexandriaError as exc:
                if not complained:
                    _log.warning("the writer lost its database: %s", exc)
                complained = True
                self._ended.wait(_PAUSE_S)

    def _find_chain(self, session: Session) -> AuditTable:
        """Find the chain, and look at its end, as the application does whenever it connects."""
        table = discover_table(session)
        if table is None:
            raise AuditUnverified("the database has no audit table")
        if not tip_is_sound(session, key=self._key):
            _log.warning("audit integrity: the newest row of `%s` does not verify", table)
        return table

    def _write_on(self, session: Session, table: AuditTable) -> None:
        places = session.all(_OPEN_SESSIONS)
        count = 0
        while not self._ended.wait(self._pause_s):
            if not places:
                continue
            place, principal, agent = places[count % len(places)]
            count += 1
            message = session.value(_MESSAGE, (place, f"Nachricht Nº {count}"))
            entry = NewEntry(
                action="message.create",
                principal=principal,
                agent=agent,
                session=place,
                metadata=json.dumps({"message": message}),
            )
            append(session, table=table, recipe=ALEXANDRIA_V1, key=self._key, entry=entry)
