"""Holding the audit table, so that what a transaction sees of it is what is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from alexandria_backup.audit.discovery import AuditTable, discover_table
from alexandria_backup.audit.retirement import retired_table
from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_qualified


@contextmanager
def held(session: Session, table: AuditTable) -> Iterator[AuditTable]:
    """Make one read-only, repeatable read transaction of the block; nobody empties its table.

    Who empties or rewrites the table, or that of its retired rows, is waited for first. Yields the
    table as it is afterwards. Raises AuditUnverified where it holds no chain any more, and
    StatementFailed where it or a column of the chain is gone.
    """
    tables = [table, *filter(None, [retired_table(session, table)])]
    names = ", ".join(quote_qualified(one.schema, one.name) for one in tables)
    with session.transaction(read_only=True, repeatable_read=True):
        # The first statement, since it takes no snapshot and all others do: to a snapshot from
        # before a TRUNCATE or a rewriting ALTER TABLE, the table has no rows once that commits.
        session.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        yield _still_there(session, table)


def _still_there(session: Session, table: AuditTable) -> AuditTable:
    now = discover_table(session, named=(table.schema, table.name), own=table.columns)
    gone = [name for name in table.columns.values() if now is None or name not in now.order]
    if now is None or gone:
        listed = ", ".join(f"`{name}`" for name in gone)
        raise StatementFailed(
            f"table `{table}` has just lost the column {listed}", hint="alexandria audit verify"
        )
    # Which columns are meant was chosen, and doubted, before.
    return replace(now, doubts=table.doubts)
