"""Incarnations of a database: a restore goes back and begins a new one.

A restore declares so, in the schema `alexandria_backup` of the database that it has made; a
rollback, too. An anchor names the incarnation that it was taken in. So rows that a declared restore
gave up are told apart from rows that were taken away; a way that nobody has declared is a `fork`.
Without that schema everything works, and then every way back is a finding.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alexandria_backup.audit.anchor import WHOLE_TABLE
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load


@dataclass(frozen=True, kw_only=True)
class Incarnation:
    """One of them, as it was declared."""

    #: The run that has made it: its name is unique.
    id: str
    #: The incarnation that it goes on from; None for the first one, which nobody has declared.
    parent: str | None
    #: By the clock of the database server.
    at: datetime
    #: What was restored or swapped back in.
    source: str
    #: Rows that each chain kept from the parent; one that is not named kept none. None: all of all.
    rows: Mapping[str, int] | None

    def describe(self) -> str:
        """Name it in a message."""
        return f"run `{self.id}` of {self.at:%Y-%m-%d %H:%M} UTC"

    def kept(self, chain: str) -> int | None:
        """Return how many rows of a chain it kept; None where all."""
        return None if self.rows is None else self.rows.get(chain, 0)


@dataclass(frozen=True)
class Incarnations:
    """The declared incarnations of a database, the one that it is in last."""

    incarnations: Sequence[Incarnation]

    @property
    def current(self) -> str | None:
        """The name of the one that the database is in; None where none was ever declared."""
        return self.incarnations[-1].id if self.incarnations else None

    def knows(self, incarnation: str | None) -> bool:
        """Tell whether an incarnation was declared here; the first one needs no declaration."""
        return incarnation is None or any(one.id == incarnation for one in self.incarnations)

    def kept(self, incarnation: str | None, chain: str) -> tuple[Incarnation, int] | None:
        """Return what has kept the fewest rows of a chain from then to now; how many.

        None where all of it is still there, or where this database does not know that incarnation.
        """
        if not self.knows(incarnation):
            return None
        now = list(self._line(self.current))
        ours = {one.id: place for place, one in enumerate(now)}
        bounds: list[Incarnation] = []
        # Back from that one to where it parts from ours: what it began with, it has in common.
        for one in self._line(incarnation):
            if one.id in ours:
                bounds += now[: ours[one.id]]
                break
            bounds.append(one)
        else:
            bounds += now
        counted = [(one, kept) for one in bounds for kept in [one.kept(chain)] if kept is not None]
        return min(counted, key=lambda pair: pair[1], default=None)

    def _line(self, incarnation: str | None) -> Iterator[Incarnation]:
        """Yield an incarnation and those that it goes on from, back to the first declared one."""
        by_id = {one.id: one for one in self.incarnations}
        seen: set[str] = set()
        while incarnation in by_id and incarnation not in seen:
            seen.add(incarnation)
            yield by_id[incarnation]
            incarnation = by_id[incarnation].parent


def incarnations(session: Session) -> Incarnations:
    """Return what was declared in a database; nothing where it has no such schema."""
    if not session.value(load("audit")["has_incarnations"]):
        return Incarnations(())
    return incarnations_of(session.records(load("audit")["incarnations"]))


def incarnations_of(records: Iterable[Mapping[str, Any]]) -> Incarnations:
    """Return what records of the table say, in any order: values of the server's, or their text."""
    found: dict[str, dict[str, Any]] = {}
    for one in sorted(records, key=lambda record: int(record["number"])):
        at = one["declared_at"]
        told = found.setdefault(
            one["id"],
            {
                "id": one["id"],
                "parent": one.get("parent"),
                "at": datetime.fromisoformat(at) if isinstance(at, str) else at,
                "source": one["source"],
                "rows": {},
            },
        )
        kept = one.get("rows_kept")
        told["rows"] = None if kept is None else {**told["rows"], one["chain"]: int(kept)}
    return Incarnations(tuple(Incarnation(**told) for told in found.values()))


def declare(
    session: Session,
    *,
    run: str,
    source: str,
    rows: Mapping[str, int] | None,
    others: Sequence[Incarnation] = (),
) -> None:
    """Declare that a new incarnation begins. Doing it twice is doing it once.

    `rows` are those that each chain has now, or None where nothing was given up. `others` are
    incarnations that another database has seen, the one that this one takes the place of. Raises
    StatementFailed where the role may not make the schema.
    """
    with session.transaction():
        session.execute(load("audit")["make_incarnations"])
        known = incarnations(session)
        if known.knows(run):
            return
        for other in others:
            if not known.knows(other.id):
                _insert(session, other)
        at = session.value("SELECT now()")
        _insert(session, Incarnation(id=run, parent=known.current, at=at, source=source, rows=rows))


def _insert(session: Session, one: Incarnation) -> None:
    chains = {WHOLE_TABLE: None} if one.rows is None else one.rows or {WHOLE_TABLE: 0}
    for chain, kept in chains.items():
        session.execute(
            load("audit")["declare_incarnation"],
            (one.id, one.parent, one.at, one.source, chain, kept),
        )
