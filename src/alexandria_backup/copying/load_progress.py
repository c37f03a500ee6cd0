"""What of a load is done, kept in the very database that is loaded, in the same transactions.

A load that was killed goes on where it was, and loads nothing twice. Where pg_restore was at work
nobody can tell how far it came, and the load starts anew.
"""

from dataclasses import dataclass

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load as queries

_IDENTITY = "identity "
_BASE_BEGUN = "base begun"
_BASE = "base"
_REST_BEGUN = "rest begun"


@dataclass(frozen=True, kw_only=True)
class LoadProgress:
    """What was done when somebody last looked."""

    notes: frozenset[str] = frozenset()
    #: Names of relations and constraints, with their schemas, that were there.
    built: frozenset[tuple[str, str]] = frozenset()

    @property
    def base_is_in(self) -> bool:
        """Whether all data of the base archive are in."""
        return _BASE in self.notes

    def rows_are_in(self, oid: int, number: int) -> bool:
        """Tell whether some rows of a table are in."""
        return _rows(oid, number) in self.notes


def read_progress(session: Session, identity: str) -> LoadProgress | None:
    """Return how far a load of this archive came; None where it must start anew."""
    if session.value(queries("load")["is_kept"]) is None:
        return None
    notes = frozenset(str(note) for (note,) in session.all(queries("load")["notes"]))
    half_done = _REST_BEGUN in notes or (_BASE_BEGUN in notes and _BASE not in notes)
    if half_done or f"{_IDENTITY}{identity}" not in notes:
        return None
    built = session.all(queries("load")["built"])
    return LoadProgress(notes=notes, built=frozenset((str(s), str(n)) for s, n in built))


def begin_progress(session: Session, identity: str) -> None:
    """Note that the schema is there, and whose it is."""
    with session.transaction():
        session.execute(queries("load")["keep"])
        _note(session, f"{_IDENTITY}{identity}")


def note_rows(session: Session, oid: int, number: int) -> None:
    """Note that some rows are in; in the transaction that brings them."""
    _note(session, _rows(oid, number))


def note_base_begun(session: Session) -> None:
    """Note that pg_restore begins to load the base archive's data."""
    _note(session, _BASE_BEGUN)


def note_base(session: Session) -> None:
    """Note that it has loaded them."""
    _note(session, _BASE)


def note_rest_begun(session: Session) -> None:
    """Note that pg_restore begins with all that is left."""
    _note(session, _REST_BEGUN)


def end_progress(session: Session) -> None:
    """Remove every note: the database is as if nobody had kept any."""
    session.execute(queries("load")["forget"])


def _rows(oid: int, number: int) -> str:
    return f"rows {oid} {number}"


def _note(session: Session, note: str) -> None:
    session.execute(queries("load")["note"], (note,))
