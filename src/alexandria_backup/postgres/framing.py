"""Which tables may be kept as frames, and what the text of their rows depends on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.queries import load

#: The first version that scans a range of row positions without reading the whole table.
_TID_RANGE_SCANS: Final = 140_000
#: Objects with lower OIDs came with the server (FirstNormalObjectId in access/transam.h).
_FIRST_OWN_OID: Final = 16_384
#: Types whose text depends on names elsewhere in the catalogue, which a rename changes silently.
_NAMING_TYPES: Final = frozenset(
    {
        "aclitem",
        "regclass",
        "regcollation",
        "regconfig",
        "regdatabase",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
        "regrole",
        "regtype",
    }
)
#: Extensions whose types' text depends on the value alone.
_TRUSTED_EXTENSIONS: Final = frozenset(
    {"citext", "cube", "hstore", "intarray", "isn", "ltree", "pg_trgm", "postgis", "seg", "vector"}
)


#: The types of one table's columns, each with what its values' text depends on.
TypeTraits = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Framable:
    """A table whose rows may be copied out by page ranges."""

    oid: int
    schema: str
    name: str
    #: Names of the columns that COPY carries, in order.
    columns: tuple[str, ...]
    #: The COPY command of an archive's entry, with its line feed, as pg_dump writes it.
    copy_statement: str
    heap_bytes: int
    #: Of its TOAST table with its index.
    toast_bytes: int
    #: Whether pages can be read by themselves; otherwise the table is copied in one.
    by_pages: bool
    #: The types of the columns and what they are made of; see `type_traits`.
    types: TypeTraits
    #: What must be the same for rows to be taken over, by aspect; None where the text of a row may
    #: change without the row being touched.
    traits: Mapping[str, Any] | None

    @property
    def label(self) -> str:
        """The name as people write it."""
        return f"{self.schema}.{self.name}"


def cluster_traits(session: Session) -> Mapping[str, str]:
    """Return what must be the same in the whole cluster for rows to be taken over."""
    (record,) = session.records(load("snapshot")["cluster"])
    return MappingProxyType(record)


def framable_tables(session: Session, *, above_bytes: int = -1) -> tuple[Framable, ...]:
    """Return the tables that may be kept as frames, by schema and name.

    Only those of more than `above_bytes`, TOAST and all: there may be thousands of small ones.

    To be asked in the transaction that exports the snapshot, after the locks: the file node and the
    size are those of now, and cannot change any more but for pages that the snapshot does not see.
    """
    queries = load("framing")
    found = [
        record
        for record in session.records(queries["candidates"])
        if record["heap_bytes"] + record["toast_bytes"] > above_bytes
    ]
    oids = [record["oid"] for record in found]
    columns = _by_relation(session, queries["columns"], oids)
    types = type_traits(session, oids)
    return tuple(
        _framable(session, record, columns.get(record["oid"], []), types[record["oid"]])
        for record in found
        if _carried(columns.get(record["oid"], []), "name")
    )


def type_traits(session: Session, oids: Sequence[int]) -> Mapping[int, TypeTraits]:
    """Return, per table, the types of its columns and what they are made of.

    Output functions look into the newest catalogue and not into the snapshot's. So this is asked
    outside of a snapshot's transaction, before and after the copying: what differs was altered.
    """
    found = _by_relation(session, load("framing")["types"], list(oids))
    return {oid: tuple(found.get(oid, ())) for oid in oids}


def _copy_statement(table: str, columns: Sequence[str]) -> str:
    # Without any column there is no list: an empty one is an error of syntax.
    listed = f"({', '.join(columns)})" if columns else ""
    return f"COPY {table} {listed} FROM stdin;\n"


def _framable(
    session: Session,
    record: dict[str, Any],
    columns: list[dict[str, Any]],
    types: TypeTraits,
) -> Framable:
    by_pages = record["heap"] and session.server_version >= _TID_RANGE_SCANS
    steady = by_pages and record["persistence"] == "p" and all(map(_is_steady, types))
    return Framable(
        oid=record["oid"],
        schema=record["schema"],
        name=record["name"],
        columns=_carried(columns, "name"),
        copy_statement=_copy_statement(record["quoted"], _carried(columns, "quoted")),
        heap_bytes=record["heap_bytes"],
        toast_bytes=record["toast_bytes"],
        by_pages=by_pages,
        types=types,
        traits={
            "storage": {"oid": record["oid"], "filenode": record["filenode"]},
            "columns": columns,
            "types": types,
        }
        if steady
        else None,
    )


def _carried(columns: Sequence[Mapping[str, Any]], form: str) -> tuple[str, ...]:
    """Return the columns that COPY carries, neither dropped nor generated, by name or quoted."""
    return tuple(c[form] for c in columns if not c["dropped"] and not c["generated"])


def _is_steady(item: Mapping[str, Any]) -> bool:
    """Tell whether a value's text can only change with the value, or with what is in the traits."""
    if item["output"] is None or (item["schema"] == "pg_catalog" and item["name"] in _NAMING_TYPES):
        return False
    return item["output"] < _FIRST_OWN_OID or item["extension"] in _TRUSTED_EXTENSIONS


def _by_relation(
    session: Session, statement: str, oids: list[int]
) -> dict[int, list[dict[str, Any]]]:
    records = session.records(statement, [oids])
    return {
        relation: [{k: v for k, v in record.items() if k != "relation"} for record in group]
        for relation, group in groupby(records, key=lambda record: record["relation"])
    }
