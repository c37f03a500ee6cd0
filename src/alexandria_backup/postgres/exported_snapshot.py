"""One consistent view of a database, shared by several sessions and held until the last is done.

Locks come first and the snapshot second: a table that is locked cannot be rewritten between the two
(`ACCESS SHARE` conflicts with what moves rows to other pages, and with nothing an application
does). pg_dump drops its own locks when it ends, long before the copying does.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_literal, quote_qualified
from alexandria_backup.postgres.queries import load

_UNDEFINED = frozenset({"42P01", "3F000"})
#: How often the list of tables is read anew because one of them was dropped meanwhile.
_ATTEMPTS = 5
#: Tables that one LOCK statement names: it is one message, and the server parses all of it.
_TABLES_PER_LOCK = 500


@dataclass(frozen=True, kw_only=True)
class SnapshotPosition:
    """Where in the server's history a snapshot stands."""

    #: As the server writes it, such as `0/15D68C8`.
    lsn: str
    #: 0 on a standby.
    timeline: int
    #: With their epochs.
    xmin: int
    xmax: int

    @property
    def lsn_bytes(self) -> int:
        """The LSN as a number, to compare it."""
        return lsn_bytes(self.lsn)


@dataclass(frozen=True, kw_only=True)
class ExportedSnapshot:
    """A snapshot that other sessions can take while the session that exported it holds it."""

    #: What `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot` take.
    id: str
    position: SnapshotPosition
    #: Tables that are locked and were there before the snapshot was taken.
    locked: frozenset[int]


class _TableWent(Exception):
    """A table was dropped after the list of tables was read: the list is read anew."""


def lsn_bytes(text: str) -> int:
    """Return an LSN such as `0/15D68C8` as a number; ValueError where it is none."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@contextmanager
def exported_snapshot(session: Session) -> Iterator[ExportedSnapshot]:
    """Lock every table, take a snapshot and hold both until the block ends.

    Raises StatementFailed where a table stays locked by others for longer than the session's lock
    timeout, and where tables come and go so fast that no list of them holds.
    """
    for attempt in range(_ATTEMPTS):
        tables = session.all(load("snapshot")["lockable"])
        with (
            suppress(_TableWent),
            session.transaction(read_only=True, repeatable_read=True),
        ):
            try:
                _lock(session, [(schema, name) for _, schema, name in tables])
            except StatementFailed as error:
                if error.sqlstate not in _UNDEFINED or attempt == _ATTEMPTS - 1:
                    raise
                # The transaction is broken: it must be rolled back, not left by its end.
                raise _TableWent from error
            exported = ExportedSnapshot(
                id=session.value(load("snapshot")["export"]),
                position=snapshot_position(session),
                locked=frozenset(oid for oid, _, _ in tables),
            )
            with _left_by_interrupts(session):
                yield exported
            return


@contextmanager
def _left_by_interrupts(session: Session) -> Iterator[None]:
    """Close the session at an interrupt: a server that is silent would not answer a ROLLBACK."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        session.close()
        raise


def adopt_snapshot(session: Session, snapshot: str) -> None:
    """See from now on, until the session is closed, exactly what an exported snapshot sees."""
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    session.execute(f"SET TRANSACTION SNAPSHOT {quote_literal(snapshot)}")
    session.all(load("snapshot")["settle_copying"])


def snapshot_position(session: Session) -> SnapshotPosition:
    """Return where the snapshot of the session's open transaction stands."""
    (record,) = session.records(load("snapshot")["position"])
    return SnapshotPosition(**record)


def _lock(session: Session, tables: list[tuple[str, str]]) -> None:
    for start in range(0, len(tables), _TABLES_PER_LOCK):
        names = ", ".join(
            f"ONLY {quote_qualified(schema, name)}"
            for schema, name in tables[start : start + _TABLES_PER_LOCK]
        )
        session.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
