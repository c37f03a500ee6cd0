"""Whether the server has, and may have, the extensions that a restore needs."""

from alexandria_backup.archive.bound_extension import NAME as BOUND
from alexandria_backup.errors import ExtensionsMissing, PrecheckRefused, RightsMissing
from alexandria_backup.postgres.amcheck import EXTENSION
from alexandria_backup.postgres.bound_extension import bound_to
from alexandria_backup.postgres.catalog import available_extensions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.server import RoleFacts, ServerFacts, role_facts
from alexandria_backup.runbooks.restore_state import Source


def refuse_missing_extensions(
    maintenance: Session, source: Source, server: ServerFacts, *, database: str | None
) -> None:
    """The server must have the files of every extension; one is bound to a database's name.

    `database` is what the restored database will be called; None where it goes away again.
    """
    if BOUND in source.extensions:
        _refuse_bound(maintenance, source, database)
    missing = sorted(set(source.extensions) - set(available_extensions(maintenance)))
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise ExtensionsMissing(
            f"the server lacks extensions that `{source.snapshot}` needs: {names}",
            hint=f"install them for PostgreSQL {server.major}, "
            f"such as `apt install postgresql-{server.major}-{missing[0]}`",
        )


def _refuse_bound(maintenance: Session, source: Source, database: str | None) -> None:
    name = bound_to(maintenance)
    reason = source.bound_objection
    if database is None or (name is not None and name != database):
        where = f", which is `{name}` here," if name else ""
        reason = f"it works in one database of the server only{where} and can be in no other"
    elif name is None:
        reason = "the server has not loaded its library, and it works in one database only"
    elif not role_facts(maintenance).superuser:
        reason = "only a superuser can create it"
    if reason is not None:
        raise PrecheckRefused(
            f"`{source.snapshot}` has extension `{BOUND}`, and {reason}",
            hint=f"pg_dump --exclude-extension={BOUND} …   # with pg_dump 17 or newer",
        )


def refuse_without_amcheck(
    maintenance: Session, role: RoleFacts, source: Source, server: ServerFacts
) -> None:
    """The server must have the extension, and the role must be able to use it."""
    if EXTENSION not in available_extensions(maintenance):
        raise ExtensionsMissing(
            f"the server lacks extension `{EXTENSION}`, which `--amcheck` needs",
            hint=f"install PostgreSQL's contrib modules, such as postgresql{server.major}-contrib, "
            "or leave out `--amcheck`",
        )
    if not role.superuser:
        there = "use" if EXTENSION in source.extensions else "create"
        raise RightsMissing(
            f"role `{role.name}` may not {there} extension `{EXTENSION}`, which `--amcheck` needs",
            hint="set `[database] admin_dsn_file` to the DSN of a superuser, "
            "or leave out `--amcheck`",
        )
