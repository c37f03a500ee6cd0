"""Refusing to take a snapshot of what could not be kept, or not be read, whole."""

from alexandria_backup.errors import PrecheckRefused, RightsMissing
from alexandria_backup.postgres.catalog import unreadable_tables
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.names import names_without_text
from alexandria_backup.runbooks.step import shell


def refuse_nameless(session: Session, database: str) -> None:
    """Raise PrecheckRefused where names are no UTF-8: no manifest could hold them."""
    nameless = names_without_text(session)
    if nameless:
        first = nameless[0]
        raise PrecheckRefused(
            f"{len(nameless)} names in `{database}` are no UTF-8 and cannot stand in a manifest, "
            f"such as {first.kind} `{first.shown}`",
            hint=shell("psql", "-d", database, "-c", first.rename),
        )


def refuse_unreadable(session: Session, database: str) -> None:
    """Raise RightsMissing where the role could not dump all of the session's database."""
    hidden = unreadable_tables(session)
    if hidden:
        first = hidden[0]
        raise RightsMissing(
            f"{len(hidden)} tables or sequences of `{database}` cannot be read, such as "
            f"`{first.schema}.{first.name}`: {first.reason}",
            hint="psql -c 'grant pg_read_all_data to …'   # or set `[database] admin_dsn_file`",
        )
