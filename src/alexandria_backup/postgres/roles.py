"""Roles that a run creates, and takes away again where nothing depends on them.

Roles belong to the whole server. Which run has made one stands in its COMMENT, written in the
transaction that creates it, so that no other role is ever dropped.
"""

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal
from alexandria_backup.postgres.queries import load
from alexandria_backup.postgres.server import role_facts, roles
from alexandria_backup.postgres.sqlstates import DEPENDENT_OBJECTS_STILL_EXIST


def create_role(maintenance: Session, name: str, *, run: str) -> None:
    """Create a role that cannot log in and has no password; one that is there stays as it is.

    Who is no superuser becomes a member, so as to give it what it is to own.
    """
    if name in roles(maintenance):
        return
    quoted = quote_identifier(name)
    own = role_facts(maintenance)
    with maintenance.transaction():
        maintenance.execute(f"CREATE ROLE {quoted} NOLOGIN")
        maintenance.execute(f"COMMENT ON ROLE {quoted} IS {quote_literal(_note(run))}")
        if not own.superuser:
            maintenance.execute(f"GRANT {quoted} TO {quote_identifier(own.name)}")


def drop_role(maintenance: Session, name: str, *, run: str) -> bool:
    """Drop a role that `run` has made; return False where something depends on it and it stays.

    A role that is gone, or that somebody else has made, is none of the run's.
    """
    if maintenance.value(load("server")["comment_of_role"], [name]) != _note(run):
        return True
    try:
        maintenance.execute(f"DROP ROLE {quote_identifier(name)}")
    except StatementFailed as error:
        if error.sqlstate != DEPENDENT_OBJECTS_STILL_EXIST:
            raise
        return False
    return True


def _note(run: str) -> str:
    return f"created by alexandria {run}"
