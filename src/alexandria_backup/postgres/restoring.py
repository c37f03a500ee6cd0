"""The lock of a restore in place: a schema with a fixed name, whose comment tells the run.

Like the name of a shadow it survives crashes and is seen from any machine. It comes and goes in the
transactions that begin and end the time in which the database is neither the old one nor the new.
"""

from enum import StrEnum, unique

from alexandria_backup.errors import LockedByAnotherRun
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal
from alexandria_backup.postgres.marker import Marker
from alexandria_backup.postgres.queries import load


@unique
class LockedPhase(StrEnum):
    """What a run that holds the lock is about to do; each of it may be done twice."""

    #: Put large objects aside; the names are still as they were.
    OBJECTS_ASIDE = "large objects go aside"
    #: Make those large objects that belong to the names that are back.
    OBJECTS_BACK = "large objects come back"
    #: Drop the large objects that came with what is dropped.
    OBJECTS_DROPPED = "large objects are dropped"


#: The schema that is the lock.
LOCK = "alexandria_backup_restoring"


def lock_holder(session: Session) -> Marker | None:
    """Return whose restore in place is at work in the session's database, or was stopped there.

    Its role is `shadow` while what was there is put aside, and `kept` when it is back and something
    is left to be done. The comment tells what is at work: see `LockedPhase`.
    """
    return Marker.decode(session.value(load("aside")["lock"], [LOCK]))


def take_lock(session: Session, marker: Marker) -> None:
    """Create the lock; to be called in a transaction. Raises StatementFailed where it is there."""
    session.execute(f"CREATE SCHEMA {quote_identifier(LOCK)}")
    note_lock(session, marker)


def note_lock(session: Session, marker: Marker) -> None:
    """Write another marker into the lock."""
    session.execute(
        f"COMMENT ON SCHEMA {quote_identifier(LOCK)} IS {quote_literal(marker.encode())}"
    )


def release_lock(session: Session) -> None:
    """Remove the lock; doing it twice is fine."""
    session.execute(f"DROP SCHEMA IF EXISTS {quote_identifier(LOCK)} CASCADE")


def refuse_other_holder(session: Session, run: str) -> None:
    """Raise LockedByAnotherRun where another run's restore in place has not ended."""
    holder = lock_holder(session)
    if holder is not None and holder.run != run:
        raise LockedByAnotherRun(
            f"run `{holder.run}` is restoring `{session.dsn.database}` in place, or was stopped",
            hint=f"alexandria run abort {holder.run}   # or: alexandria run resume {holder.run}",
        )
