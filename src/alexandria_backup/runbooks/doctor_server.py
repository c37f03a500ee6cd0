"""What the doctor says of the server, and of what talks to it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from alexandria_backup.errors import PrecheckRefused
from alexandria_backup.postgres.catalog import unreadable_tables
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.restoring import refuse_other_holder
from alexandria_backup.postgres.server import RoleFacts, ServerFacts, role_facts, server_facts
from alexandria_backup.runbooks import (
    in_place_check,
    prechecks,
    prechecks_source,
    prechecks_space,
    rights,
)
from alexandria_backup.runbooks.doctor_diagnosis import Diagnosis, Status, ok
from alexandria_backup.runbooks.servers import Servers

#: Clocks that differ by more make the names and ages of snapshots misleading.
_CLOCK_SKEW = timedelta(seconds=5)
#: No two servers were started at the same microsecond.
_STARTED = "SELECT pg_catalog.pg_postmaster_start_time()"


def server(facts: ServerFacts) -> Iterator[Diagnosis]:
    """Say which server it is, and how it is reached."""
    tls = "TLS" if facts.tls else "no TLS"
    said = f"PostgreSQL {facts.version}, {tls}, direct connection"
    if facts.in_recovery:
        yield Diagnosis(
            name="server",
            status=Status.WARNING,
            message=f"{said}, a standby: snapshots can be taken there, nothing can be restored",
            hint="give the DSN of the primary for a restore",
        )
    elif not facts.tls and not facts.local:
        yield Diagnosis(
            name="server",
            status=Status.WARNING,
            message=f"{said}: rows and password cross the network in the clear",
            hint="add `sslmode=verify-full` to the DSN",
        )
    else:
        yield ok("server", said)


def clock(facts: ServerFacts) -> Iterator[Diagnosis]:
    """Compare this machine's clock with the server's."""
    skew = datetime.now(UTC) - facts.now
    if abs(skew) > _CLOCK_SKEW:
        yield Diagnosis(
            name="clock",
            status=Status.WARNING,
            message=f"this machine's clock is {skew.total_seconds():+.0f} s from the server's",
            hint="timedatectl set-ntp true",
        )
    else:
        yield ok("clock", "agrees with the server's")


def client_tools(find: Callable[[int], ClientTools], facts: ServerFacts) -> Iterator[Diagnosis]:
    """Say which of PostgreSQL's programs would be used."""
    tools = find(facts.major)
    said = f"`pg_dump` and `pg_restore` {tools.version} in `{tools.bin_dir}`"
    if tools.major == facts.major:
        yield ok("client tools", said)
    else:
        yield Diagnosis(
            name="client tools",
            status=Status.WARNING,
            message=f"{said}, for a server of version {facts.major}",
            hint=f"apt install postgresql-client-{facts.major}",
        )


def read_rights(session: Session) -> Iterator[Diagnosis]:
    """Name what a snapshot could not read."""
    hidden = unreadable_tables(session)
    if not hidden:
        yield ok("read rights", "every table and sequence can be read")
        return
    first = hidden[0]
    yield Diagnosis(
        name="read rights",
        status=Status.FAILED,
        message=f"{len(hidden)} tables or sequences cannot be read, such as "
        f"`{first.schema}.{first.name}`: {first.reason}",
        hint="psql -c 'grant pg_read_all_data to …'",
    )


def restore_rights(servers: Servers) -> Iterator[Diagnosis]:
    """Ask for what a restore needs of its role; raises what it would be refused with."""
    with servers.session(servers.database, "doctor") as session:
        refuse_other_holder(session, "")
    with servers.maintenance() as maintenance:
        role = role_facts(maintenance)
        if not role.create_database:
            yield from _restore_in_place(servers, maintenance, role)
            return
        rights.refuse_missing_rights(role, maintenance, servers.database)
        rights.refuse_foreign_sessions(maintenance, servers.database)
        prechecks.refuse_prepared_transactions(maintenance, servers.database)
    yield ok("restore rights", f"role `{role.name}` may create, rename and end sessions")


def _restore_in_place(
    servers: Servers, maintenance: Session, role: RoleFacts
) -> Iterator[Diagnosis]:
    """Ask for what a restore in place needs of the role and of the live database."""
    status = Status.WARNING
    possible = "`restore --in-place` is possible, with downtime for the whole load"
    with servers.session(servers.database, "doctor") as session:
        facts = database_facts(session, servers.database)
        try:
            in_place_check.refuse_without_rights(session, role, facts)
            in_place_check.refuse_what_stays(session, in_place_check.staying(session, None))
            rights.refuse_foreign_sessions(maintenance, servers.database)
            prechecks.refuse_prepared_transactions(maintenance, servers.database)
            # The safety snapshot is required then.
            prechecks_source.refuse_unreadable(session, servers.database)
        except PrecheckRefused as error:
            status = Status.FAILED
            possible = f"`restore --in-place` is not possible: {error.message}"
    yield Diagnosis(
        name="restore rights",
        status=status,
        message=f"role `{role.name}` may not create databases; {possible}",
        hint=f"psql -c 'alter role \"{role.name}\" createdb'   "
        "# or set `[database] admin_dsn_file`",
    )


def application_login(servers: Servers, session: Session) -> Iterator[Diagnosis]:
    """Log in as the application does, where another role does the work; it is the same server."""
    if servers.administrator is None:
        return
    with servers.as_application(servers.database) as own:
        if own.value(_STARTED) == session.value(_STARTED):
            yield ok("application login", f"`{servers.application}` leads to the same server")
            return
    yield Diagnosis(
        name="application login",
        status=Status.FAILED,
        message=f"`{servers.application}` and `{servers.administrator}` lead to two servers: what "
        "is restored would not be what the application uses",
        hint="let `[database] admin_dsn_file` name the application's own server",
    )


def server_space(
    given_free: int | None, servers: Servers, seen: ServerFacts
) -> Iterator[Diagnosis]:
    """Compare the database's size with the space beside it."""
    with servers.maintenance() as maintenance:
        facts = database_facts(maintenance, servers.database)
        # The administrator may see the data folder where the application's role may not.
        told = server_facts(maintenance)
    size = (facts.size_bytes if facts else None) or 0
    free = given_free
    if free is None:
        free = prechecks_space.measured_free(told) or prechecks_space.measured_free(seen)
    if free is None:
        yield Diagnosis(
            name="server space",
            status=Status.WARNING,
            message=f"the database has {size:,} bytes; free space on the server is not known",
            hint="set `[database] server_free_space`",
        )
    elif free < size:
        yield Diagnosis(
            name="server space",
            status=Status.FAILED,
            message=f"the database has {size:,} bytes and the server {free:,} free: "
            "a restore beside it does not fit",
            hint="free space on the server",
        )
    else:
        yield ok("server space", f"the database has {size:,} bytes, the server {free:,} free")
