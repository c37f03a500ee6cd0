"""What stands in the database that a session is connected to."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from alexandria_backup.errors import StatementFailed
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified
from alexandria_backup.postgres.queries import load


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """A table, or what holds rows like one, in a schema that is not the system's."""

    oid: int
    schema: str
    name: str
    owner: str
    #: `r` ordinary, `p` partitioned, `m` materialized view, `f` foreign.
    kind: str
    #: `p` permanent, `u` unlogged.
    persistence: str
    #: True where reading it reads a foreign table: it is one, or one is a part of it.
    reads_elsewhere: bool
    #: True for a partition of another table.
    partition: bool
    #: The planner's estimate; None where the table was never analysed.
    estimated_rows: int | None
    #: With indexes and TOAST; 0 for what has no storage of its own.
    total_bytes: int
    #: The extension that it belongs to, or None.
    extension: str | None


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A table or sequence that the role cannot read in full, and why."""

    schema: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EventTriggerFacts:
    """An event trigger: code that runs on DDL or on login."""

    name: str
    event: str
    enabled: bool


@dataclass(frozen=True, kw_only=True)
class SequenceBehind:
    """A sequence whose next value is not beyond what its column holds: inserts will collide."""

    schema: str
    name: str
    #: The column that owns it, as `schema.table.column`.
    column: str
    next_value: int
    #: The highest value of the column; the lowest where the sequence descends.
    furthest: int


def tables(session: Session) -> tuple[TableFacts, ...]:
    """Return tables of every kind and materialized views, by schema and name."""
    return tuple(TableFacts(**record) for record in session.records(load("catalog")["tables"]))


def row_count(session: Session, schema: str, name: str) -> int:
    """Count the rows of one table exactly.

    A partitioned table counts its partitions; a table that others inherit from counts its own rows
    only, as pg_dump writes them.
    """
    kind = session.value(load("catalog")["table_kind"], [schema, name])
    only = "" if kind == "p" else "ONLY "
    return int(session.value(f"SELECT count(*) FROM {only}{quote_qualified(schema, name)}"))  # noqa: S608 - quoted


def unreadable_tables(session: Session) -> tuple[Unreadable, ...]:
    """Return the tables and sequences that pg_dump would fail on with this role."""
    return tuple(Unreadable(**record) for record in session.records(load("catalog")["unreadable"]))


def installed_extensions(session: Session) -> Mapping[str, str]:
    """Return the extensions of this database: name to version."""
    return MappingProxyType(dict(session.all(load("catalog")["installed_extensions"])))


def available_extensions(session: Session) -> Mapping[str, tuple[str, ...]]:
    """Return the extensions that the server has files for: name to versions."""
    rows = session.all(load("catalog")["available_extensions"])
    return MappingProxyType({name: tuple(versions) for name, versions in rows})


def default_versions(session: Session) -> Mapping[str, str]:
    """Return the version in which the server creates each extension that it has files for."""
    return MappingProxyType(dict(session.all(load("catalog")["default_versions"])))


def publications(session: Session) -> tuple[str, ...]:
    """Return the names of this database's publications."""
    return tuple(name for (name,) in session.all(load("catalog")["publications"]))


def event_triggers(session: Session) -> tuple[EventTriggerFacts, ...]:
    """Return this database's event triggers."""
    records = session.records(load("catalog")["event_triggers"])
    return tuple(EventTriggerFacts(**record) for record in records)


def large_object_count(session: Session) -> int:
    """Count this database's large objects."""
    return int(session.value(load("catalog")["large_object_count"]))


def invalid_indexes(session: Session) -> tuple[str, ...]:
    """Return the indexes that are not valid, ready and live, as `schema.index`."""
    return tuple(name for (name,) in session.all(load("catalog")["invalid_indexes"]))


def unvalidated_constraints(session: Session) -> tuple[str, ...]:
    """Return the constraints that hold for new rows only, as `schema.table name`."""
    return tuple(name for (name,) in session.all(load("catalog")["unvalidated_constraints"]))


def sequences_behind(session: Session) -> tuple[SequenceBehind, ...]:
    """Return the sequences that would hand out a value which their column has reached already.

    Looked at are sequences that belong to a column (`serial`, identity, `OWNED BY`) and do not
    cycle. Exact: reads each such column's highest, or lowest, value.
    """
    found = []
    for record in session.records(load("catalog")["owned_sequences"]):
        step = record.pop("step")
        next_value, furthest = _reached(session, step=step, **record)
        if furthest is None or (furthest < next_value if step > 0 else furthest > next_value):
            continue
        found.append(
            SequenceBehind(
                schema=record["schema"],
                name=record["name"],
                column=f"{record['table_schema']}.{record['table']}.{record['column']}",
                next_value=int(next_value),
                furthest=int(furthest),
            )
        )
    return tuple(found)


def _reached(
    session: Session,
    *,
    schema: str,
    name: str,
    table_schema: str,
    table: str,
    column: str,
    step: int,
) -> tuple[Decimal, Decimal | None]:
    """Return the sequence's next value, and the furthest value of its column."""
    furthest = f"{'max' if step > 0 else 'min'}({quote_identifier(column)})::numeric"
    # Every name in here is quoted. No placeholders: a name may hold a percent sign.
    row = session.one(
        f"SELECT last_value + CASE WHEN is_called THEN {step}::numeric ELSE 0 END, "  # noqa: S608
        f"(SELECT {furthest} FROM {quote_qualified(table_schema, table)}) "
        f"FROM {quote_qualified(schema, name)}"
    )
    if row is None:
        raise StatementFailed(f"sequence `{schema}.{name}` has no row")
    return row[0], row[1]
