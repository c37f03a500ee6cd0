"""Histories of a database: a restore goes back, and what follows is another history of the chain.

A restore declares so, in the schema `alexandria_backup` of the database that it has made. An anchor
names the history that it was taken in. So rows that a declared restore gave up are told apart from
rows that were taken away; a way that nobody has declared is a `fork`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from alexandria_backup.audit.anchor import WHOLE_TABLE
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load

#: Made on first use; everything works without it, and then every way back is a finding.
SCHEMA: Final = "alexandria_backup"


@dataclass(frozen=True, kw_only=True)
class Incarnation:
    """One declared way back."""

    #: The run that has made it: its name is unique.
    id: str
    #: By the clock of the database server.
    at: datetime
    #: The snapshot or archive that was restored.
    source: str
    #: Rows that each chain had when it began; one that is not named had none.
    rows: Mapping[str, int]

    def describe(self) -> str:
        """Name it in a message."""
        return f"the restore `{self.id}` of {self.at:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Histories:
    """The declared ways back of a database, the oldest first."""

    incarnations: Sequence[Incarnation]

    @property
    def current(self) -> str | None:
        """The name of the history that the database is in; None where none was ever declared."""
        return self.incarnations[-1].id if self.incarnations else None

    def knows(self, incarnation: str | None) -> bool:
        """Tell whether a history is this database's own; that before the first is."""
        return incarnation is None or incarnation in {one.id for one in self.incarnations}

    def kept(self, incarnation: str | None, chain: str) -> tuple[Incarnation, int] | None:
        """Return the restore that kept the fewest rows of a chain of a history, and how many.

        None where no restore has ended that history, or where this database does not know it.
        """
        if not self.knows(incarnation):
            return None
        names = [None, *(one.id for one in self.incarnations)]
        later = self.incarnations[names.index(incarnation) :]
        return min(
            ((one, one.rows.get(chain, 0)) for one in later), key=lambda kept: kept[1], default=None
        )


def histories(session: Session) -> Histories:
    """Return what restores have declared in a database; none where it has no such schema."""
    if not session.value(load("audit")["has_incarnations"]):
        return Histories(())
    found: dict[str, tuple[datetime, str, dict[str, int]]] = {}
    for ident, at, source, chain, rows in session.all(load("audit")["incarnations"]):
        found.setdefault(ident, (at, source, {}))[2][chain] = rows
    return Histories(
        tuple(
            Incarnation(id=ident, at=at, source=source, rows=rows)
            for ident, (at, source, rows) in found.items()
        )
    )


def declare(session: Session, *, run: str, source: str, rows: Mapping[str, int]) -> None:
    """Declare that a database was restored: what follows is a new history. Doing it twice is once.

    `rows` are those that each chain has now. Raises StatementFailed where the role may not make the
    schema.
    """
    with session.transaction():
        session.execute(load("audit")["make_incarnations"])
        for chain, count in (rows or {WHOLE_TABLE: 0}).items():
            session.execute(load("audit")["declare_incarnation"], (run, source, chain, count))
