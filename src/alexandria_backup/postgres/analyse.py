"""What the planner must know of a database that was just loaded."""

from alexandria_backup.postgres.catalog import tables
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_qualified


def analyse(session: Session) -> None:
    """Let the planner know what the database holds, and ask no other server for that.

    `ANALYZE` of a whole database leaves foreign tables out, but not those that are partitions of a
    table here, or inherit from one.
    """
    found = tables(session)
    if not any(table.reads_elsewhere and table.kind != "f" for table in found):
        session.execute("ANALYZE")
        return
    names = (quote_qualified(t.schema, t.name) for t in found if not t.reads_elsewhere)
    for name in names:
        session.execute(f"ANALYZE {name}")
