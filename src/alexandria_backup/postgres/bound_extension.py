"""Rows of `pg_cron` in a database that cannot have it yet: kept aside, then given to it, inactive.

While a database is loaded beside the live one, plain tables and sequences of the same names take
the rows. When it has the name that the extension is bound to, the extension is created and gets
them, in one transaction: its worker never sees an active job.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import (
    quote_identifier,
    quote_literal,
    quote_qualified,
)
from alexandria_backup.postgres.queries import load

_EXTENSION: Final = "pg_cron"
_SCHEMA: Final = "cron"
_ASIDE: Final = "alexandria_backup_cron"
_JOBS: Final = "job"


def bound_to(session: Session) -> str | None:
    """Return the database that the extension works in; None where it is not loaded."""
    found = session.value(load("bound_extension")["database_name"])
    return None if found is None else str(found)


def keep_rows_aside(
    session: Session, tables: Iterable[tuple[str, Sequence[str]]], sequences: Iterable[str]
) -> None:
    """Make room for the rows of tables with these columns; doing it twice equals doing it once."""
    with session.transaction():
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        for name, columns in tables:
            listed = ", ".join(f"{quote_identifier(column)} text" for column in columns)
            session.execute(f"CREATE TABLE IF NOT EXISTS {_of(_SCHEMA, name)} ({listed})")
        for name in sequences:
            session.execute(f"CREATE SEQUENCE IF NOT EXISTS {_of(_SCHEMA, name)}")


def rows_are_aside(session: Session) -> bool:
    """Tell whether rows wait for the extension."""
    return bool(session.value(load("bound_extension")["is_kept"]))


def active_jobs_aside(session: Session) -> tuple[int, ...]:
    """Return the numbers of the active jobs among the rows that wait for the extension."""
    active = session.all(
        f"SELECT jobid::bigint FROM {_of(_SCHEMA, _JOBS)} "  # noqa: S608 - quoted
        "WHERE active::boolean ORDER BY 1"
    )
    return tuple(int(number) for (number,) in active)


def give_rows_back(
    session: Session, tables: Iterable[tuple[str, Sequence[str]]], sequences: Iterable[str]
) -> None:
    """Create the extension and give it its rows, every job inactive.

    Raises StatementFailed where the server refuses; the rows are still aside then.
    """
    with session.transaction():
        session.execute(f"ALTER SCHEMA {_SCHEMA} RENAME TO {_ASIDE}")
        session.execute(f"CREATE EXTENSION {_EXTENSION}")
        session.execute(f"UPDATE {_of(_ASIDE, _JOBS)} SET active = 'false'")  # noqa: S608 - quoted
        for name, columns in tables:
            session.execute(_insert(session, name, columns))
        for name in sequences:
            session.execute(
                f"SELECT pg_catalog.setval({quote_literal(_of(_SCHEMA, name))}, "  # noqa: S608
                f"last_value, is_called) FROM {_of(_ASIDE, name)}"
            )
        session.execute(f"DROP SCHEMA {_ASIDE} CASCADE")


def _insert(session: Session, name: str, columns: Sequence[str]) -> str:
    types = dict(session.all(load("bound_extension")["columns"], (_of(_SCHEMA, name),)))
    listed = ", ".join(map(quote_identifier, columns))
    values = ", ".join(f"{quote_identifier(c)}::{types[c]}" for c in columns)
    return (
        f"INSERT INTO {_of(_SCHEMA, name)} ({listed}) "  # noqa: S608 - quoted
        f"SELECT {values} FROM {_of(_ASIDE, name)}"
    )


def _of(schema: str, name: str) -> str:
    return quote_qualified(schema, name)
