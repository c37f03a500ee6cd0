"""Give a database the settings, grants and comment that another one had.

Each function changes only what differs: a role that may not change an attribute does no harm as
long as it need not.
"""

import re
from collections.abc import Iterator, Sequence

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, Grant, Setting, database_facts
from alexandria_backup.postgres.identifiers import quote_grantee, quote_identifier, quote_literal
from alexandria_backup.postgres.marker import without_marker

#: Parameters whose value is a list of names, kept in quoted form; the server has no catalogue of
#: them. The same list stands in pg_dump (`variable_is_guc_list_quote` in dumputils.c).
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_LIST_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]*?))\s*(?:,|\Z)')
_PRIVILEGES = frozenset({"CONNECT", "CREATE", "TEMPORARY"})


def set_attributes(session: Session, database: str, facts: DatabaseFacts) -> None:
    """Make owner, settings, grants, comment, limits and connectability those of `facts`.

    The facts may be those of a database that a run has marked as its own: what is written then is
    the comment which the marker took the place of, since a marker makes a database droppable.
    """
    found = _facts(session, database)
    name = quote_identifier(database)
    if found.owner != facts.owner:
        session.execute(f"ALTER DATABASE {name} OWNER TO {quote_identifier(facts.owner)}")
    set_settings(session, database, facts.settings)
    set_grants(session, database, facts.grants)
    comment = without_marker(facts.comment)
    if found.comment != comment:
        literal = "NULL" if comment is None else quote_literal(comment)
        session.execute(f"COMMENT ON DATABASE {name} IS {literal}")
    for option, is_now, wanted in (
        ("CONNECTION LIMIT", found.connection_limit, facts.connection_limit),
        ("IS_TEMPLATE", found.is_template, facts.is_template),
        ("ALLOW_CONNECTIONS", found.allow_connections, facts.allow_connections),
    ):
        if is_now != wanted:
            session.execute(f"ALTER DATABASE {name} WITH {option} {wanted}")


def set_settings(session: Session, database: str, settings: Sequence[Setting]) -> None:
    """Make the configuration parameters of a database these, and no others."""
    found = _facts(session, database).settings
    if set(found) == set(settings):
        return
    name = quote_identifier(database)
    for role in {setting.role for setting in found}:
        session.execute(f"{_target(role, name)} RESET ALL")
    for setting in settings:
        session.execute(
            f"{_target(setting.role, name)} SET {quote_identifier(setting.name)} "
            f"TO {', '.join(_values(setting))}"
        )


def set_grants(session: Session, database: str, grants: Sequence[Grant]) -> None:
    """Make the privileges on a database these, and no others."""
    found = _facts(session, database).grants
    if set(found) == set(grants):
        return
    name = quote_identifier(database)
    for grantee in {grant.grantee for grant in found}:
        session.execute(f"REVOKE ALL ON DATABASE {name} FROM {quote_grantee(grantee)} CASCADE")
    for grant in grants:
        if grant.privilege not in _PRIVILEGES:
            raise StatementFailed(f"`{grant.privilege}` is no privilege on a database")
        option = " WITH GRANT OPTION" if grant.grantable else ""
        session.execute(
            f"GRANT {grant.privilege} ON DATABASE {name} TO {quote_grantee(grant.grantee)}{option}"
        )


def list_items(value: str) -> Iterator[str]:
    """Yield the names in a list as `pg_db_role_setting` holds it: `"$user", public`."""
    position = 0
    while position < len(value):
        match = _LIST_ITEM.match(value, position)
        if match is None:
            raise StatementFailed(f"a list of names cannot be read: `{value}`")
        quoted, plain = match.groups()
        yield plain if quoted is None else quoted.replace('""', '"')
        position = match.end()


def _facts(session: Session, database: str) -> DatabaseFacts:
    found = database_facts(session, database)
    if found is None:
        raise StatementFailed(f"database `{database}` is not there any more")
    return found


def _target(role: str | None, database: str) -> str:
    if role is None:
        return f"ALTER DATABASE {database}"
    return f"ALTER ROLE {quote_identifier(role)} IN DATABASE {database}"


def _values(setting: Setting) -> list[str]:
    if setting.name.lower() not in _LISTS:
        return [quote_literal(setting.value)]
    # As one literal, the whole list would become a single name.
    return [quote_literal(item) for item in list_items(setting.value)] or ["''"]
