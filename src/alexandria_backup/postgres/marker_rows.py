"""Marker rows: what tells a later snapshot that it shares the history of an earlier one.

A row is committed durably after a snapshot was taken. WAL is replayed in order, so a database that
has the row has everything that the snapshot saw; one that was put back from a copy, failed over to
a standby that lagged, or lost what a crash took, does not have it. An LSN alone does not do.
"""

import secrets

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load

#: The schema of what this program keeps in a user's database.
SCHEMA = "alexandria_backup"


def has_markers(session: Session) -> bool:
    """Tell whether the schema is there: made once, with the operator's consent."""
    return bool(session.value(load("marker_rows")["exists"]))


def create_markers(session: Session) -> None:
    """Make the schema; doing it twice equals doing it once.

    Raises StatementFailed where the role may not create one, or on a standby.
    """
    session.execute(load("marker_rows")["create"])


def write_marker(session: Session) -> str | None:
    """Commit a new marker durably and return its nonce; None where none may be written."""
    if not has_markers(session) or not session.value(load("marker_rows")["may_write"]):
        return None
    nonce = secrets.token_hex(16)
    with session.transaction():
        # Whatever the database's default: without the flush the row would prove nothing.
        session.execute("SET LOCAL synchronous_commit = on")
        session.execute(load("marker_rows")["forget_old"])
        session.execute(load("marker_rows")["write"], [nonce])
    return nonce


def sees_marker(session: Session, nonce: str) -> bool:
    """Tell whether the session's snapshot sees the marker of this nonce."""
    return has_markers(session) and bool(session.value(load("marker_rows")["is_seen"], [nonce]))
