"""What a database has besides its contents: locale, owner, settings, grants, comment."""

from dataclasses import dataclass

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One privilege on a database."""

    #: None means PUBLIC.
    grantee: str | None
    #: `CONNECT`, `CREATE` or `TEMPORARY`.
    privilege: str
    #: True where the grantee may pass it on.
    grantable: bool = False


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A configuration parameter set for a database, or for one role in it."""

    #: None means every role.
    role: str | None
    name: str
    #: As `pg_db_role_setting` holds it.
    value: str


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """A row of `pg_database` and what else in the shared catalogues belongs to the database."""

    name: str
    oid: int
    owner: str
    #: PostgreSQL's name of it, such as `UTF8`.
    encoding: str
    #: `c` for libc, `i` for ICU, `b` for builtin.
    locale_provider: str
    collate: str
    ctype: str
    #: The locale of ICU or of the builtin provider; None with libc.
    locale: str | None
    icu_rules: str | None
    #: What the provider's version was when the database was made; None where it has none.
    collation_version: str | None
    #: -1 means no limit.
    connection_limit: int
    #: False means fenced.
    allow_connections: bool
    is_template: bool
    comment: str | None
    tablespace: str
    #: None where the role may not ask.
    size_bytes: int | None
    #: Every privilege, PUBLIC's and the owner's too.
    grants: tuple[Grant, ...]
    settings: tuple[Setting, ...]


def default_grants(owner: str) -> tuple[Grant, ...]:
    """Return the privileges that PostgreSQL gives on a database nobody has granted anything on."""
    return (
        Grant(grantee=None, privilege="CONNECT"),
        Grant(grantee=None, privilege="TEMPORARY"),
        Grant(grantee=owner, privilege="CONNECT"),
        Grant(grantee=owner, privilege="CREATE"),
        Grant(grantee=owner, privilege="TEMPORARY"),
    )


def database_facts(session: Session, name: str) -> DatabaseFacts | None:
    """Return the facts about a database of the session's server, or None where there is none."""
    queries = load("database")
    records = session.records(queries["database"], [name])
    if not records:
        return None
    (record,) = records
    grants = session.records(queries["grants"], [record["oid"]])
    settings = session.records(queries["settings"], [record["oid"]])
    return DatabaseFacts(
        **record,
        grants=tuple(Grant(**grant) for grant in grants),
        settings=tuple(Setting(**setting) for setting in settings),
    )
