"""What a change of databases gives up: rows per table, now and afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass

from alexandria_backup.errors import ConnectionLost, StatementFailed
from alexandria_backup.postgres.catalog import TableFacts, row_count, tables
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.marker_rows import SCHEMA
from alexandria_backup.runbooks.restore_state import GivenUp

#: Tables above this size are estimated: a person waits for the answer, and it is no proof.
_COUNTED_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The number of rows of a live table; None where it could not be counted."""

    rows: int | None
    estimated: bool = False
    #: True for a partitioned table: its rows are its partitions'.
    partitioned: bool = False


def count_tables(session: Session) -> dict[str, Counted]:
    """Count the rows of every table with rows of its own, under `schema.name`.

    Our own tables say nothing about the application, and are left out. A table that cannot be read
    is no reason to stop: the live database may be the broken one.
    """
    return {
        f"{table.schema}.{table.name}": _count(session, table)
        for table in tables(session)
        if table.kind in {"r", "p"} and table.extension is None and table.schema != SCHEMA
    }


def _count(session: Session, table: TableFacts) -> Counted:
    if table.kind == "p":
        return Counted(rows=None, partitioned=True)
    if table.total_bytes > _COUNTED_BYTES and table.estimated_rows is not None:
        return Counted(rows=table.estimated_rows, estimated=True)
    try:
        return Counted(rows=row_count(session, table.schema, table.name))
    except ConnectionLost:
        raise
    except StatementFailed:
        return Counted(rows=None)


def differences(
    live: Mapping[str, Counted], after: Mapping[str, int | None]
) -> tuple[GivenUp, ...]:
    """Return the tables whose number of rows will change, those that lose most first.

    `after` holds the rows that each table will have, under `schema.name`, and None where nobody
    knows; a table that it does not hold will be gone. What this program keeps for itself in a
    database is left out: nobody gives it up.
    """
    found = [
        GivenUp(table=label, live=now.rows, estimated=now.estimated, snapshot=after.get(label))
        for label, now in live.items()
        if not now.partitioned
        and (label not in after or (after[label] is not None and after[label] != now.rows))
    ]
    if live:
        found += [
            GivenUp(table=label, live=None, snapshot=rows, there=False)
            for label, rows in after.items()
            if label not in live and rows is not None
        ]
    theirs = (item for item in found if not item.table.startswith(f"{SCHEMA}."))
    return tuple(sorted(theirs, key=_loss, reverse=True))


def _loss(item: GivenUp) -> int:
    return (item.live or 0) - (item.snapshot or 0)
