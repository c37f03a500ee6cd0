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
    columns: Mapping[str, str]
    #: The columns in the order in which rows come.
    order: tuple[str, ...]
    #: The table's columns that have no role: no HMAC covers what stands in them.
    without_role: tuple[str, ...]
    #: The type of each role's column as SQL; empty where an archive's column list was asked.
    types: Mapping[str, str]
    #: `r` ordinary, `p` partitioned, None where it is not known.
    kind: str | None = None
    #: What makes it doubtful which columns are meant, each in words; empty where nothing does.
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def __getstate__(self) -> dict[str, object]:
        # A read-only view of a dictionary cannot go to another process; what it shows can.
        return {**self.__dict__, "columns": dict(self.columns), "types": dict(self.types)}

    def column(self, field: str) -> str | None:
        """Return the column of a role, or of a field that is no role; None: there is none."""
        return self.columns.get(field) or (field if field in self.order else None)

    def missing(self, recipe: Recipe) -> tuple[str, ...]:
        """Return what the recipe covers and the table does not have."""
        return tuple(
            field
            for field in recipe.fields
            if self.column(field) is None and field not in recipe.optional
        )

    def uncovered(self, recipe: Recipe) -> tuple[str, ...]:
        """Return the columns that can be changed without an HMAC failing."""
        covered = {self.column(field) for field in (*recipe.fields, Role.HMAC, Role.PREV_HMAC)}
        spare = (name for name in self.columns.values() if name not in covered)
        return (*spare, *(name for name in self.without_role if name not in covered))


def discover_in_columns(
    schema: str,
    name: str,
    columns: Sequence[str],
    *,
    named: bool = False,
    types: Mapping[str, str] = MappingProxyType({}),
    kind: str | None = None,
    own: Mapping[str, str] = MappingProxyType({}),
) -> AuditTable | None:
    """Return the table as an audit table, or None where it is not one.

    `named` says that the settings name this table, so that it may have any name; one that then has
    no column for an HMAC raises AuditUnverified. `own` are the settings' names of columns by role.
    """
    if not named and name not in TABLE_NAMES:
        return None
    known = _known_names(own)
    there = {role: [one for one in names if one in columns] for role, names in known.items()}
    found: dict[str, str] = {role: names[0] for role, names in there.items() if names}
    lacking = [role for role in _NEEDED if role not in found]
    if lacking and named:
        raise AuditUnverified(
            f"table `{schema}.{name}` holds no audit chain: it has no column "
            f"{_either(known, lacking)}",
            hint="check `audit.table` and `audit.columns` in the settings",
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
        doubts=tuple(
            f"`{schema}.{name}` is half migrated: it has both `{names[0]}` and `{names[1]}`, and "
            f"`{names[0]}` was read; set `[audit.columns] {role} = …`"
            for role, names in there.items()
            if len(names) > 1
        ),
    )


def discover_table(
    session: Session,
    *,
    named: tuple[str, str] | None = None,
    own: Mapping[str, str] = MappingProxyType({}),
) -> AuditTable | None:
    """Return the audit table of the session's database, or None where it has none.

    `named` is the schema and table of the settings, `own` their names of columns by role. Raises
    AuditUnverified where that is not in the database or holds no chain, and where several tables
    could be the one.
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
                own=own,
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


def why_none(session: Session, own: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...]:
    """Say why no audit table was found: what has its name only, and what only its columns."""
    known = _known_names(own)
    near = [
        f"`{schema}.{name}` has no column {_either(known, lacking)}"
        for (schema, name, _), columns in _candidates(session, None).items()
        for lacking in [[role for role in _NEEDED if not set(known[role]) & set(columns)]]
        if lacking
    ]
    alike = look_alikes(session)
    listed = ", ".join(f"`{name}`" for name in alike)
    return (*near, *([f"tables that look like one: {listed}"] if alike else []))


def look_alikes(session: Session) -> tuple[str, ...]:
    """Return tables of other names that have the columns of a chain: what a person may name."""
    return tuple(
        f"{schema}.{name}"
        for schema, name in session.all(
            load("audit")["look_alikes"],
            [list(COLUMN_NAMES[Role.HMAC]), list(COLUMN_NAMES[Role.PREV_HMAC]), list(TABLE_NAMES)],
        )
    )


def _known_names(own: Mapping[str, str]) -> dict[Role, tuple[str, ...]]:
    return {role: (own[role],) if role in own else names for role, names in COLUMN_NAMES.items()}


def _either(known: Mapping[Role, tuple[str, ...]], lacking: Sequence[Role]) -> str:
    return ", ".join(f"`{'` or `'.join(known[role])}`" for role in lacking)


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
