"""The queries that an operator wants asked of restored data."""

from collections.abc import Mapping
from typing import Final

from alexandria_backup.errors import ChecksFailed, ConnectionLost, StatementFailed
from alexandria_backup.postgres.connect import Session

#: Classes of SQLSTATEs by which no answer is told: resources, an operator's intervention, system.
_TROUBLE: Final = frozenset({"53", "57", "58"})


def ask(session: Session, checks: Mapping[str, str]) -> None:
    """Ask each query in a read-only transaction; raise ChecksFailed, naming all that have failed.

    One has passed where it returns exactly one row whose first column is true. Raises
    StatementFailed where the server is in trouble: then nobody knows the answer.
    """
    failed = {
        name: problem for name, query in checks.items() if (problem := _problem(session, query))
    }
    if failed:
        told = "; ".join(f"`{name}` {problem}" for name, problem in failed.items())
        raise ChecksFailed(
            f"{len(failed)} of {len(checks)} checks have failed: {told}",
            hint="see `[drill] checks` and `[application] checks` in the settings",
        )


def _problem(session: Session, query: str) -> str | None:
    """Return what is wrong with the answer; None where nothing is."""
    try:
        with session.transaction(read_only=True):
            rows = session.all(query)
    except ConnectionLost:
        raise
    except StatementFailed as error:
        if error.sqlstate is not None and error.sqlstate[:2] in _TROUBLE:
            raise
        return f"was refused: {error.message}"
    if len(rows) != 1:
        return f"returned {len(rows):,} rows, and one is expected"
    # A query may have no column at all.
    if rows[0][:1] != (True,) or not isinstance(rows[0][0], bool):
        return "did not return true"
    return None
