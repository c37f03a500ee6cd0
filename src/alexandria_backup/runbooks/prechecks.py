"""What must hold before a database is restored or swapped: each check refuses, warns, or is silent.

`doctor` asks the same questions without a restore at hand.
"""

from collections.abc import Iterator, Sequence

from alexandria_backup.errors import (
    LockedByAnotherRun,
    OtherApplication,
    PrecheckRefused,
    UsageError,
)
from alexandria_backup.postgres.activity import (
    prepared_transactions,
    replication_slots,
)
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.identifiers import fits, quote_literal, quote_qualified
from alexandria_backup.postgres.server import (
    ServerFacts,
    list_databases,
    role_facts,
    server_facts,
)
from alexandria_backup.postgres.shadow import read_marker, shadow_name
from alexandria_backup.runbooks import prechecks_extensions as required
from alexandria_backup.runbooks import prechecks_space as room
from alexandria_backup.runbooks import rights
from alexandria_backup.runbooks.restore_state import RestoreRequest, RestoreState, Source
from alexandria_backup.runbooks.step import shell

#: An archive of another application: fewer than this share of its tables exist in the target.
_SAME_APPLICATION = 0.5


def for_restore(
    maintenance: Session,
    state: RestoreState,
    source: Source,
    *,
    server_free_bytes: int | None,
    server_reserve_bytes: int = 0,
) -> tuple[str, ...]:
    """Check everything that could stop a restore half-way; return the warnings.

    Raises PrecheckRefused, or a child of it, for the first thing that forbids the restore.
    """
    server, role, request = server_facts(maintenance), role_facts(maintenance), state.request
    target = request.to_database or state.target
    refuse_standby(server)
    refuse_name(target)
    swaps = request.to_database is None
    if not request.in_place:
        otherwise = ", or add `--in-place`: down for the whole load" if swaps else ""
        rights.refuse_missing_rights(
            role, maintenance, state.target, renames=swaps, otherwise=otherwise
        )
    if request.to_database is not None:
        refuse_existing(maintenance, request.to_database)
    else:
        refuse_other_restore(maintenance, state)
        refuse_other_application(source, state.live_tables, request)
        refuse_prepared_transactions(maintenance, state.target)
        rights.refuse_foreign_sessions(maintenance, state.target)
    required.refuse_missing_extensions(maintenance, source, server, database=target)
    if request.amcheck:
        required.refuse_without_amcheck(maintenance, role, source, server)
    if not request.no_owner:
        rights.refuse_unknown_new_owners(maintenance, request.map_owner)
        missing = rights.missing_roles(maintenance, source, state.facts)
        if request.create_roles:
            rights.refuse_uncreatable_roles(role, missing)
        else:
            rights.refuse_missing_roles(source, missing)
        rights.refuse_foreign_owners(
            maintenance, role, server, source, state.facts, created=missing
        )
    return tuple(
        warning
        for warnings in (
            older_server(server, source),
            without_data(source),
            left_to_other_servers(source),
            missing_tables(source, state.live_tables) if swaps else (),
            room.space(server, source, server_free_bytes, server_reserve_bytes),
            lost_slots(maintenance, state.target, in_place=request.in_place) if swaps else (),
            lost_publications(source, state.live_publications),
        )
        for warning in warnings
    )


def refuse_standby(server: ServerFacts) -> None:
    """A standby takes no writes."""
    if server.in_recovery:
        raise PrecheckRefused(
            "the server is a standby, and nothing can be restored there",
            hint="give the DSN of the primary",
        )


def refuse_name(name: str) -> None:
    """The server cuts names above 63 bytes, silently."""
    if not fits(name):
        raise UsageError(f"`{name}` is no name for a database: 1 to 63 bytes are")


def refuse_existing(maintenance: Session, name: str) -> None:
    """Nothing is ever restored into a database that exists."""
    if database_facts(maintenance, name) is not None:
        raise PrecheckRefused(
            f"there is a database `{name}` already", hint="choose another `--to-database`"
        )


def refuse_other_restore(maintenance: Session, state: RestoreState) -> None:
    """The shadow's name is fixed per target: whoever has it is restoring."""
    name = shadow_name(state.target)
    if name not in list_databases(maintenance):
        return
    marker = read_marker(maintenance, name)
    if marker is None:
        raise LockedByAnotherRun(
            f"there is a database `{name}`, which no run of this program has made",
            hint=f"look at it, then: {shell('dropdb', name)}",
        )
    if marker.run != state.run:
        raise LockedByAnotherRun(
            f"run `{marker.run}` is restoring `{state.target}`, or was stopped",
            hint=f"alexandria run abort {marker.run}   # or: alexandria run resume {marker.run}",
        )


def refuse_other_application(
    source: Source, live_tables: Sequence[str], request: RestoreRequest
) -> None:
    """Archive and live database must have at least half of each other's tables in common.

    Fewer, and the archive is another application's, or only a part of this one.
    """
    if not live_tables or not source.defined or request.yes_different:
        return
    known = set(source.defined) & set(live_tables)
    if len(known) < _SAME_APPLICATION * len(source.defined):
        raise OtherApplication(
            f"only {len(known)} of the {len(source.defined)} tables in `{source.snapshot}` exist "
            f"in the live database: it seems to be of another application (`{source.database}`)",
            hint="check the snapshot and the DSN; if it is right, add `--yes-different`",
        )
    if len(known) < _SAME_APPLICATION * len(live_tables):
        raise OtherApplication(
            f"`{source.snapshot}` has only {len(known)} of the {len(live_tables)} tables of the "
            "live database: it seems to be a part of a database",
            hint="if all the others are to go, add `--yes-different`",
        )


def missing_tables(source: Source, live_tables: Sequence[str]) -> Iterator[str]:
    """Warn of live tables that the archive does not have: they go with the swap."""
    gone = sorted(set(live_tables) - set(source.defined))
    if gone:
        yield (
            f"{len(gone)} tables of the live database are not in the archive and will be gone, "
            f"such as `{gone[0]}`"
        )


def refuse_prepared_transactions(maintenance: Session, target: str) -> None:
    """A database with prepared transactions cannot be renamed."""
    found = prepared_transactions(maintenance, target)
    if found:
        command = f"rollback prepared {quote_literal(found[0].gid).strip()}"
        raise PrecheckRefused(
            f"`{target}` has {len(found)} prepared transactions and cannot be renamed over them",
            hint=shell("psql", "-d", target, "-c", command) + "   # or commit prepared",
        )


def older_server(server: ServerFacts, source: Source) -> Iterator[str]:
    """Warn where the snapshot comes from a newer major version than the server's."""
    digits = source.server_version.partition(".")[0]
    if digits.isdigit() and int(digits) > server.major:
        yield (
            f"the snapshot was taken from PostgreSQL {source.server_version}, "
            f"and this server is {server.version}: the load may fail"
        )


def without_data(source: Source) -> Iterator[str]:
    """Warn where the archive defines tables and has nothing for them."""
    if source.without_data:
        first = source.without_data[0]
        yield (
            f"the archive has no data for {len(source.without_data)} of its tables, such as "
            f"`{first}`: they will be empty"
        )


def left_to_other_servers(source: Source) -> Iterator[str]:
    """Warn of what is not loaded, since other servers would have to do something for it."""
    for view in source.not_filled:
        yield (
            f"materialized view `{view.label}` stays empty, since its query may act on another "
            f"server; to fill it afterwards: REFRESH MATERIALIZED VIEW {quote_qualified(*view)}"
        )
    for table in source.foreign_rows:
        yield (
            f"the archive's rows of foreign table `{table.label}` are not inserted: they "
            "would change another server"
        )


def lost_slots(maintenance: Session, target: str, *, in_place: bool) -> Iterator[str]:
    """Warn of replication slots: they stay with the replaced database, or see the whole load."""
    what = "belongs to the live database and stays with it when it is replaced"
    if in_place:
        what = "is of the live database, and the whole load passes through it"
    for slot in replication_slots(maintenance, target):
        yield f"replication slot `{slot.name}` {what}: its consumer must be set up anew"


def lost_publications(source: Source, live: Sequence[str]) -> Iterator[str]:
    """Warn of publications that the archive does not have: their subscribers get nothing more."""
    for name in sorted(set(live) - set(source.publications)):
        yield (
            f"publication `{name}` of the live database is not in the archive and will be gone: "
            "its subscribers must be set up anew"
        )
