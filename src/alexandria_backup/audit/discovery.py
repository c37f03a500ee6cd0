"""Where the audit chain is: its table and columns, found by their names, never assumed.

The application's documents disagree on names (`audit_logs` and `audit_log`, `prev_hmac` and
`prev_hash`), and its versions on columns. So each role has the names it is known by, and what is
found is the same whether a database or the column list of an archive is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from alexandria_backup.audit.recipe import Recipe, Role
from alexandria_backup.errors import AuditUnverified
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load

#: The names of an audit table.
TABLE_NAMES: Final = ("audit_logs", "audit_log")

#: The names that a column of each role goes by, the likeliest first.
COLUMN_NAMES: Final[Mapping[Role, tuple[str, ...]]] = MappingProxyType(
    {
        Role.ID: ("id",),
        Role.PRINCIPAL: ("principal",),
        Role.ACTION: ("action",),
        Role.AGENT: ("agent",),
        Role.SESSION: ("session",),
        Role.METADATA: ("metadata",),
        Role.TENANT_ID: ("tenant_id",),
        Role.CREATED_AT: ("created_at",),
        Role.HMAC: ("hmac", "hash"),
        Role.PREV_HMAC: ("prev_hmac", "prev_hash"),
    }
)
#: Without these there are no links to follow.
_NEEDED: Final = (Role.ID, Role.HMAC, Role.PREV_HMAC)


@dataclass(frozen=True, kw_only=True)
class AuditTable:
    """A table that holds an audit chain, and which of its columns is what."""

    schema: str
    name: str
    #: The name of the column that has a role; roles that no column has are missing.
    columns: Mapping[Role, str]
    #: The columns in the order in which rows come.
    order: tuple[str, ...]
    #: The table's columns that have no role: no HMAC covers what stands in them.
    without_role: tuple[str, ...]
    #: The type of each role's column as SQL; empty where an archive's column list was asked.
    types: Mapping[Role, str]
    #: `r` ordinary, `p` partitioned, None where it is not known.
    kind: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def missing(self, recipe: Recipe) -> tuple[Role, ...]:
        """Return the columns that the recipe covers and the table does not have."""
        return tuple(
            role
            for role in recipe.fields
            if role not in self.columns and role not in recipe.optional
        )

    def uncovered(self, recipe: Recipe) -> tuple[str, ...]:
        """Return the columns that can be changed without an HMAC failing."""
        covered = {*recipe.fields, Role.HMAC, Role.PREV_HMAC}
        spare = tuple(name for role, name in self.columns.items() if role not in covered)
        return (*spare, *self.without_role)


def discover_in_columns(
    schema: str,
    name: str,
    columns: Sequence[str],
    *,
    named: bool = False,
    types: Mapping[str, str] = MappingProxyType({}),
    kind: str | None = None,
) -> AuditTable | None:
    """Return the table as an audit table, or None where it is not one.

    `named` says that the settings name this table, so that it may have any name; one that then has
    no column for an HMAC raises AuditUnverified.
    """
    if not named and name not in TABLE_NAMES:
        return None
    found = {
        role: known
        for role, names in COLUMN_NAMES.items()
        for known in [next((one for one in names if one in columns), None)]
        if known is not None
    }
    lacking = [role for role in _NEEDED if role not in found]
    if lacking and named:
        listed = ", ".join(f"`{'` or `'.join(COLUMN_NAMES[role])}`" for role in lacking)
        raise AuditUnverified(
            f"table `{schema}.{name}` holds no audit chain: it has no column {listed}",
            hint="check `audit.table` in the settings",
        )
    if lacking:
        return None
    return AuditTable(
        schema=schema,
        name=name,
        columns=MappingProxyType(found),
        order=tuple(columns),
        without_role=tuple(column for column in columns if column not in found.values()),
        types=MappingProxyType(
            {role: types[column] for role, column in found.items() if column in types}
        ),
        kind=kind,
    )


def discover_table(session: Session, *, named: tuple[str, str] | None = None) -> AuditTable | None:
    """Return the audit table of the session's database, or None where it has none.

    `named` is the schema and table of the settings. Raises AuditUnverified where that is not in
    the database or holds no chain, and where several tables could be the one.
    """
    found = [
        table
        for (schema, name, kind), columns in _candidates(session, named).items()
        for table in [
            discover_in_columns(
                schema,
                name,
                list(columns),
                named=named is not None,
                types=columns,
                kind=kind,
            )
        ]
        if table is not None
    ]
    if named is not None and not found:
        raise AuditUnverified(
            f"database `{session.dsn.database}` has no table `{'.'.join(named)}`, "
            "which the settings name as the audit table",
            hint="check `audit.table` in the settings",
        )
    if len(found) > 1:
        raise AuditUnverified(
            "several tables could hold the audit chain: " + ", ".join(f"`{t}`" for t in found),
            hint=f"set `audit.table`, such as `ALEXANDRIA_AUDIT__TABLE={found[0]}`",
        )
    return found[0] if found else None


def _candidates(
    session: Session, named: tuple[str, str] | None
) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the columns and types of each table that may be the one, in the table's order."""
    schemas, names = ([], list(TABLE_NAMES)) if named is None else ([named[0]], [named[1]])
    tables: dict[tuple[str, str, str], dict[str, str]] = {}
    for schema, name, kind, column, sql_type in session.all(
        load("audit")["columns"], [names, schemas, schemas]
    ):
        tables.setdefault((schema, name, kind), {})[column] = sql_type
    return tables
