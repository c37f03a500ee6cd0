"""What a restore is asked for and what it has found out: the values that its journal carries."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from alexandria_backup.archive.inventory import Ownership, TableName
from alexandria_backup.copying.proof import ExpectedTable
from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.database import DatabaseFacts
from alexandria_backup.postgres.load_settings import LoadSetting
from alexandria_backup.postgres.shadow import shadow_name
from alexandria_backup.runbooks.chain_reader import ChainSeen
from alexandria_backup.runbooks.switch import SwitchState


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class RestoreChoices(_Value):
    """How a snapshot is to be restored."""

    #: A database to restore into beside the live one; no swap then.
    to_database: str | None = None
    #: Only these tables, as `schema.table` or `table`; all of them where none is named.
    tables: tuple[str, ...] = ()
    #: Load into the live database itself, whose contents are put aside.
    in_place: bool = False
    #: Stop the application before the load rather than before the swap, as on paper.
    stop_first: bool = False
    #: Give everything to the role that restores, and restore no privileges.
    no_owner: bool = False
    #: Put everything into the default tablespace.
    no_tablespaces: bool = False
    #: Create the roles that are needed and missing.
    create_roles: bool = False
    #: Who owns and may use what belongs to a role of the archive: old names to new ones.
    map_owner: Mapping[str, str] = {}
    #: Restore although the archive looks like another application's.
    yes_different: bool = False
    #: Restore although the audit chain in the archive is broken.
    accept_chain: bool = False
    #: Check tables and B-tree indexes of the shadow with extension `amcheck`.
    amcheck: bool = False
    #: Why, for the journal.
    reason: str | None = None


class RestoreRequest(RestoreChoices):
    """What the operator asked for; enough to go on from another machine."""

    #: The folder or URL prefix that holds the archive, and the archive's name there.
    store: str
    archive: str
    #: How many connections load at once.
    jobs: int = 2


class Source(_Value):
    """The archive: read in full before anything is created."""

    bytes: int
    #: Stands for its contents: SHA-256 of a file, or of what a repository's manifest says.
    identity: str
    #: True where a manifest beside it vouches for these bytes.
    manifest: bool
    #: False where rows that lie apart are read, and checked, when they are loaded.
    read_in_full: bool = True
    snapshot: str
    kind: str | None
    #: When the snapshot was taken: by the server's clock, or as the archive's header says.
    created: datetime | None
    database: str
    server_version: str
    dump_version: str
    tables: tuple[ExpectedTable, ...]
    #: Every table that the archive defines or has rows for, as `schema.name`.
    defined: tuple[str, ...]
    #: Tables that the archive defines, and for which it has no data: they will be empty.
    without_data: tuple[str, ...]
    #: The oldest major version whose `pg_restore` reads the archive.
    pg_restore: int
    large_objects: int
    #: Bytes of all rows, uncompressed; what could not be read is not in it.
    raw_bytes: int
    #: PostgreSQL's name of the archive's encoding.
    encoding: str
    extensions: tuple[str, ...]
    #: Why the extension that works in one database only cannot be left for later.
    bound_objection: str | None = None
    roles: tuple[str, ...]
    #: Who is made the owner of something, and in whose schema.
    ownerships: tuple[Ownership, ...] = ()
    #: Names of the publications that the archive creates.
    publications: tuple[str, ...] = ()
    #: Constraints that were not validated when the snapshot was taken, as `schema.table name`.
    not_validated: tuple[str, ...] = ()
    chain: ChainSeen | None
    #: What of the tables that were asked for is not restored, since it needs other tables.
    left_out: tuple[str, ...] = ()
    #: Tables and views that are created without rows, since those that were asked for need them.
    empty: tuple[str, ...] = ()
    #: Materialized views that are created without rows, since their queries reach other servers.
    not_filled: tuple[TableName, ...] = ()
    #: Foreign tables whose rows are in the archive: they would go to other servers.
    foreign_rows: tuple[TableName, ...] = ()
    #: False where it is not known how the dump rendered values, so that a digest proves nothing.
    pinned_rendering: bool


class GivenUp(_Value):
    """A table whose number of rows changes."""

    table: str
    #: None where it could not be counted, or the table is not there.
    live: int | None
    #: None where the table goes.
    snapshot: int | None
    #: True where `live` is the server's estimate.
    estimated: bool = False
    #: False where the live database has no such table.
    there: bool = True


class Proof(_Value):
    """What was compared between the shadow and the archive, and came out equal."""

    tables: int
    rows: int
    #: Tables whose rows were compared by digest as well as by number.
    digests: int
    large_objects: int
    chain: str | None
    checks: int
    #: Indexes and tables whose pages were read by `amcheck`; None where that was not asked for.
    amcheck: int | None = None
    #: What could not be compared, and why.
    not_compared: tuple[str, ...] = ()


class Grown(_Value):
    """What a load took on the server, in bytes; None where nobody could look."""

    shadow_bytes: int | None
    #: How much more WAL there was than before.
    wal_bytes: int | None
    least_free_bytes: int | None


class RestoreState(SwitchState):
    """The state of a restore."""

    request: RestoreRequest
    #: `system_identifier` of the server, where the role may read it: a resume must be on the same.
    server: int | None = None
    source: Source | None = None
    #: The tables of the live database, as `schema.name`.
    live_tables: tuple[str, ...] = ()
    #: The publications of the live database.
    live_publications: tuple[str, ...] = ()
    given_up: tuple[GivenUp, ...] = ()
    #: The id of the safety snapshot; None where there is none.
    safety: str | None = None
    proof: Proof | None = None
    #: Parameters of the server that the sessions of the load had.
    load_settings: tuple[LoadSetting, ...] = ()
    #: Jobs of `pg_cron` that ran in the source: they come back inactive, also after a kill.
    active_jobs: tuple[int, ...] = ()
    #: Tables whose rows the load has read back and compared, as `schema.name`.
    read_back: tuple[str, ...] = ()
    #: How the server filled up while it was loaded.
    grown: Grown | None = None
    #: Roles that are created, without login and password.
    roles_to_create: tuple[str, ...] = ()
    #: Names of schemas and the like that a restore in place makes: no others are removed by it.
    brought: tuple[str, ...] = ()
    #: Extensions of the live database before a restore in place.
    extensions_before: tuple[str, ...] = ()

    @property
    def works_in_place(self) -> bool:
        """Whether the contents of the live database itself are exchanged."""
        return self.request.in_place

    @property
    def shadow(self) -> str:
        """The name of the database that is built: the one asked for, or one beside the target."""
        if self.request.in_place:
            return self.target
        return self.request.to_database or shadow_name(self.target)

    @property
    def known_source(self) -> Source:
        """The archive as it was read; raises UsageError where no step has found one."""
        if self.source is None:
            raise UsageError("nothing was found to restore")
        return self.source

    @property
    def known_facts(self) -> DatabaseFacts:
        """What the new database is made like; raises UsageError where no step has found that."""
        if self.facts is None:
            raise UsageError("nothing was found to restore")
        return self.facts
