"""Two fences: nobody gets into a database and nobody stays in it; or nobody writes into it.

The second is for a database that is worked on itself: our own sessions write, since they say so.
"""

import time

from alexandria_backup.errors import (
    DatabaseMissing,
    RightsMissing,
    SessionsRemain,
    StatementFailed,
)
from alexandria_backup.postgres.activity import SessionFacts, other_sessions, terminate
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.identifiers import quote_identifier
from alexandria_backup.postgres.sqlstates import INSUFFICIENT_PRIVILEGE

_PAUSE = 0.05
_READ_ONLY = "default_transaction_read_only"
#: A login that was let in just before the fence shows itself a moment later: look again.
_QUIET_LOOKS = 2


def fence(maintenance: Session, database: str, *, patience: float) -> None:
    """Refuse new connections to `database` and end its sessions; doing it twice is fine.

    `maintenance` is a session in another database. Clients that try again are refused; workers of
    the server are waited for. Raises, after `patience` seconds, SessionsRemain, which names who
    would not go, or RightsMissing where our role may not end a session; the fence then stands.
    """
    facts = database_facts(maintenance, database)
    if facts is None:
        raise DatabaseMissing(f"there is no database `{database}` to fence")
    if facts.allow_connections:
        _allow(maintenance, database, allow=False)
    deadline = time.monotonic() + patience
    quiet = 0
    while quiet < _QUIET_LOOKS:
        left = other_sessions(maintenance, database)
        quiet = 0 if left else quiet + 1
        for found in left:
            _end(maintenance, found)
        if left and time.monotonic() > deadline:
            raise _remaining(database, left)
        time.sleep(_PAUSE)


def lift(maintenance: Session, database: str) -> None:
    """Let connections into `database` again; doing it twice is fine."""
    facts = database_facts(maintenance, database)
    if facts is None:
        raise DatabaseMissing(f"there is no database `{database}` to open")
    if not facts.allow_connections:
        _allow(maintenance, database, allow=True)


def forbid_writes(maintenance: Session, database: str, *, patience: float) -> None:
    """Let new sessions in `database` only read, unless they ask for more, and end all there are.

    `maintenance` is a session in another database. Clients may come again, and only read then.
    Raises as `fence` does.
    """
    maintenance.execute(f"ALTER DATABASE {quote_identifier(database)} SET {_READ_ONLY} TO on")
    end_sessions(maintenance, database, patience=patience)


def allow_writes(session: Session, database: str, before: str | None) -> None:
    """Take back what `forbid_writes` has set; `before` is what was set for the database then."""
    wanted = f"RESET {_READ_ONLY}" if before is None else f"SET {_READ_ONLY} TO {before}"
    session.execute(f"ALTER DATABASE {quote_identifier(database)} {wanted}")


def writes_forbidden(facts: DatabaseFacts) -> str | None:
    """Return what is set for a database, for all roles; None where nothing is."""
    found = (s.value for s in facts.settings if s.role is None and s.name == _READ_ONLY)
    return next(found, None)


def end_sessions(maintenance: Session, database: str, *, patience: float) -> None:
    """End the sessions that there are in `database`; who comes meanwhile may stay.

    Raises as `fence` does.
    """
    deadline = time.monotonic() + patience
    for _ in range(_QUIET_LOOKS):
        there = {found.pid for found in other_sessions(maintenance, database)}
        while left := tuple(s for s in other_sessions(maintenance, database) if s.pid in there):
            for found in left:
                _end(maintenance, found)
            if time.monotonic() > deadline:
                raise _remaining(database, left)
            time.sleep(_PAUSE)
        time.sleep(_PAUSE)


def _allow(maintenance: Session, database: str, *, allow: bool) -> None:
    name = quote_identifier(database)
    maintenance.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allow}")


def _end(maintenance: Session, found: SessionFacts) -> None:
    if not found.may_terminate:
        return
    try:
        terminate(maintenance, found.pid)
    except StatementFailed as error:
        # Its role may have changed since it was listed; the deadline then speaks for it.
        if error.sqlstate != INSUFFICIENT_PRIVILEGE:
            raise


def _remaining(database: str, left: tuple[SessionFacts, ...]) -> RightsMissing | SessionsRemain:
    held = [found for found in left if not found.may_terminate]
    names = ", ".join(str(found) for found in (held or left)[:3])
    if held:
        return RightsMissing(
            f"our role may not end sessions in `{database}`: {names}",
            hint="grant the role pg_signal_backend, or set `[database] admin_dsn_file`",
        )
    return SessionsRemain(
        f"sessions in `{database}` do not end: {names}",
        hint="stop these clients, then: alexandria run resume",
    )
