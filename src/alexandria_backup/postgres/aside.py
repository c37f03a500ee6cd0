"""What stands in a database and can be put aside, and what a run has put aside there.

Who has put a thing aside, and what it was called, stands in its comment: see `Marker`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.marker import Marker
from alexandria_backup.postgres.queries import load

#: The kind of a schema, among those of `NamedFacts`.
SCHEMA = "schema"
#: The kind of default privileges: a schema keeps them in its marker, and nothing was called so.
DEFAULTS = "default privileges"
#: The kind of large objects: rows of tables in a schema, and nothing was called so.
OBJECTS = "large objects"


@dataclass(frozen=True, kw_only=True)
class _Commented:
    comment: str | None

    @property
    def marker(self) -> Marker | None:
        """Which run has put it aside; None where none has."""
        return Marker.decode(self.comment)


@dataclass(frozen=True, kw_only=True)
class SchemaFacts(_Commented):
    """A schema that is not the system's."""

    name: str
    owner: str
    #: True where our role has the owner's rights.
    ours: bool
    #: True where our role may create in it.
    may_create: bool
    #: True where an extension has made it.
    of_extension: bool
    #: Extensions that have something in it.
    extensions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NamedFacts(_Commented):
    """What has a name in the database, and no schema."""

    #: As ALTER calls it: `publication`, `server`, `foreign data wrapper`.
    kind: str
    name: str
    owner: str
    ours: bool


@dataclass(frozen=True, kw_only=True)
class ContentFacts:
    """Something in a schema that moves by itself."""

    #: As `pg_identify_object` calls it, such as `operator class`.
    kind: str
    #: Quoted, with its schema and whatever else ALTER needs.
    identity: str
    owner: str
    ours: bool


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A thing that a run has put aside."""

    kind: str
    name: str
    marker: Marker


def schemas(session: Session) -> tuple[SchemaFacts, ...]:
    """Return the schemas of the session's database, those put aside too."""
    records = session.records(load("aside")["schemas"])
    return tuple(
        SchemaFacts(**{**record, "extensions": tuple(record["extensions"])}) for record in records
    )


def named(session: Session) -> tuple[NamedFacts, ...]:
    """Return what has a name and no schema, what was put aside too."""
    return tuple(NamedFacts(**record) for record in session.records(load("aside")["named"]))


def contents(session: Session, schema: str) -> tuple[ContentFacts, ...]:
    """Return what moves by itself out of a schema."""
    records = session.records(load("aside")["contents"], [schema])
    return tuple(ContentFacts(**record) for record in records)


def things_aside(session: Session, run: str | None = None) -> tuple[Aside, ...]:
    """Return what `run`, or any run, has put aside, schemas first."""
    marked = (
        *((SCHEMA, found.name, found.marker) for found in schemas(session)),
        *((found.kind, found.name, found.marker) for found in named(session)),
    )
    return tuple(
        Aside(kind=kind if marker.of else _nameless(marker), name=name, marker=marker)
        for kind, name, marker in marked
        if marker is not None and run in {None, marker.run}
    )


def _nameless(marker: Marker) -> str:
    return OBJECTS if marker.comment is None else DEFAULTS


def kept_aside(session: Session, run: str | None = None) -> tuple[Aside, ...]:
    """Return what `run`, or any run, keeps: all that may come back."""
    return tuple(thing for thing in things_aside(session, run) if thing.marker.role == "kept")


@dataclass(frozen=True, kw_only=True)
class Immovable:
    """Something that belongs to the database, and can neither be renamed nor be there twice."""

    #: Such as `cast` or `event trigger`.
    kind: str
    name: str


@dataclass(frozen=True, kw_only=True)
class ExtensionFacts:
    """An extension of the database."""

    name: str
    schema: str
    version: str


def immovable(session: Session) -> tuple[Immovable, ...]:
    """Return what cannot be put aside."""
    records = session.records(load("aside")["cannot_be_put_aside"])
    return tuple(Immovable(**record) for record in records)


def extensions(session: Session) -> Mapping[str, ExtensionFacts]:
    """Return the extensions of the database by name."""
    records = session.records(load("aside")["extensions"])
    return MappingProxyType({record["name"]: ExtensionFacts(**record) for record in records})


def creatable_extensions(session: Session) -> frozenset[str]:
    """Return the extensions that a role can create who is no superuser and may create here."""
    return frozenset(name for (name,) in session.all(load("aside")["may_be_created"]))


def members(session: Session) -> frozenset[tuple[str, str]]:
    """Return schema and name of each table and sequence that an extension has made."""
    return frozenset(session.all(load("aside")["members"]))


def may_create(session: Session) -> bool:
    """Tell whether the role may create schemas in the database."""
    return bool(session.value(load("aside")["may_create"]))


@dataclass(frozen=True, kw_only=True)
class WritingRole:
    """A role whose own setting lets it write where the database's setting says: only read."""

    role: str
    #: True where that is set for this database alone.
    only_here: bool


def writing_roles(session: Session) -> tuple[WritingRole, ...]:
    """Return the roles that the fence of a restore in place would not keep out."""
    return tuple(
        WritingRole(**record) for record in session.records(load("aside")["roles_that_write"])
    )


def room_for_locks(session: Session) -> int:
    """Return how many objects one transaction can lock on this server, at least."""
    return int(session.value(load("aside")["room_for_locks"]))


def tables_of(session: Session, schema: str) -> tuple[str, ...]:
    """Return the names of the tables with rows of their own in a schema, put aside or not."""
    return tuple(name for (name,) in session.all(load("aside")["tables_of"], [schema]))


def size_of(session: Session, things: Collection[Aside]) -> int:
    """Return how many bytes what was put aside has on the server's disk."""
    names = [thing.name for thing in things if thing.kind in {SCHEMA, OBJECTS}]
    return int(session.value(load("aside")["size_of"], [names]))


def dependents(session: Session, things: Collection[Aside]) -> tuple[str, ...]:
    """Return what stands outside of what was put aside and would be dropped with it."""
    names = [thing.name for thing in things if thing.kind == SCHEMA]
    return tuple(found for (found,) in session.all(load("aside")["dependents"], [names]))


def marked_schemas(session: Session) -> tuple[str, ...]:
    """Return the schemas that are no part of a snapshot: what was put aside, and the lock."""
    return tuple(name for (name,) in session.all(load("aside")["marked"]))
