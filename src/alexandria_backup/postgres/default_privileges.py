"""What objects that a role creates are granted from the beginning, put aside and brought back.

Those for one schema go with it. Those for every schema, and those of a schema that stays, would
apply to what is loaded: they are reset, and kept as text in the marker of an empty schema.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import Grant
from alexandria_backup.postgres.identifiers import quote_grantee, quote_identifier
from alexandria_backup.postgres.queries import load

#: The letters of `pg_default_acl`, and the words of ALTER DEFAULT PRIVILEGES.
_KINDS = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "ROUTINES",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}


@dataclass(frozen=True, kw_only=True)
class DefaultPrivileges:
    """What objects of one kind that a role creates are granted."""

    role: str
    #: None for those in every schema.
    schema: str | None
    #: One letter, as in `pg_default_acl`.
    kind: str
    #: True where our role may change them.
    ours: bool


def default_privileges(session: Session, staying: Collection[str]) -> tuple[DefaultPrivileges, ...]:
    """Return those that somebody has set for every schema, or for one that stays."""
    records = session.records(load("aside")["default_privileges"])
    found = (DefaultPrivileges(**record) for record in records)
    return tuple(item for item in found if item.schema is None or item.schema in staying)


def written(session: Session, items: Sequence[DefaultPrivileges]) -> str:
    """Return default privileges as text, for `bring_back_defaults`."""
    return json.dumps(
        [
            {
                "role": item.role,
                "schema": item.schema,
                "kind": item.kind,
                "grants": [asdict(grant) for grant in _grants(session, item)],
            }
            for item in items
        ]
    )


def reset_defaults(session: Session, items: Sequence[DefaultPrivileges]) -> None:
    """Let nothing be granted but what PostgreSQL itself grants."""
    for item in items:
        usual = [
            Grant(**record)
            for record in session.records(load("aside")["usual_grants"], [item.kind, item.role])
        ]
        _set(session, item, usual if item.schema is None else [])


def bring_back_defaults(session: Session, text: str) -> None:
    """Set what `written` has returned."""
    for record in json.loads(text):
        grants = [Grant(**grant) for grant in record.pop("grants")]
        _set(session, DefaultPrivileges(**record, ours=True), grants)


def _grants(session: Session, item: DefaultPrivileges) -> list[Grant]:
    query = load("aside")["default_grants"]
    records = session.records(query, [item.schema, item.kind, item.role])
    return [Grant(**record) for record in records]


def _set(session: Session, item: DefaultPrivileges, grants: Collection[Grant]) -> None:
    where = f" IN SCHEMA {quote_identifier(item.schema)}" if item.schema is not None else ""
    alter = f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote_identifier(item.role)}{where}"
    kind = _KINDS[item.kind]
    for grantee in {grant.grantee for grant in _grants(session, item)}:
        session.execute(f"{alter} REVOKE ALL ON {kind} FROM {quote_grantee(grantee)}")
    for grant in grants:
        option = " WITH GRANT OPTION" if grant.grantable else ""
        session.execute(
            f"{alter} GRANT {grant.privilege} ON {kind} TO {quote_grantee(grant.grantee)}{option}"
        )
