"""Doctor: everything that can be checked before it is needed, one line each; changes nothing."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from alexandria_backup.errors import AlexandriaError
from alexandria_backup.postgres.catalog import (
    available_extensions,
    installed_extensions,
    tables,
    unreadable_tables,
)
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.server import ServerFacts, role_facts, server_facts
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.opened import Repository
from alexandria_backup.runbooks import prechecks, prechecks_space, rights
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.doctor_bundle import BundleCheck, bundle_doubt
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.switch_application import Application
from alexandria_backup.storage.store import ObjectStore

#: A dump is between these shares of the raw tables: the paper runbook's experience.
_DUMP_SHARE = (0.10, 0.50)
#: Clocks that differ by more make the names and ages of snapshots misleading.
_CLOCK_SKEW = timedelta(seconds=5)
#: Names under which this program is installed.
_OUR_NAMES = ("alexandria", "alex", "alex-cli")


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    status: Status
    message: str
    #: A command to type, or the one thing to do.
    hint: str | None = None


@dataclass(frozen=True, kw_only=True)
class DoctorParts:
    """What the doctor looks at. What may fail to be built comes as a function."""

    #: Returns the servers and where the DSN was found.
    servers: Callable[[], tuple[Servers, str]]
    tools: Callable[[int], ClientTools]
    #: None where no repository is set.
    repository: Callable[[], ObjectStore] | None
    #: Opens the repository; None where the place is a plain folder of files.
    opened: Callable[[], Repository | None]
    #: The manifest of the newest snapshot of this database; None where there is none.
    newest: Callable[[], Manifest | None]
    state_dir: Path
    chain: Callable[[], ChainReader]
    #: `[audit] required`; None means: where there is a chain.
    chain_required: bool | None
    application: Callable[[], Application]
    server_free_bytes: int | None
    #: None on a machine that has nothing of what a bundle holds.
    bundle: BundleCheck | None
    #: The folders of PATH, and the program that runs now.
    path: Sequence[Path]
    program: Path


def examine(parts: DoctorParts) -> tuple[Finding, ...]:
    """Run all checks; one that fails does not keep the others from being run."""
    findings = [*_state_folder(parts.state_dir), *_names(parts)]
    try:
        servers, source = parts.servers()
    except AlexandriaError as error:
        return (_failed("dsn", error), *findings, *_guarded("bundle", lambda: _bundle(parts)))
    findings.insert(0, _ok("dsn", f"`{servers.application}`, from {source}"))
    try:
        with servers.session(servers.database, "doctor") as session:
            findings += _database(parts, servers, session)
    except AlexandriaError as error:
        findings.append(_failed("server", error))
    findings += _guarded("application", lambda: _application(parts))
    findings += _guarded("bundle", lambda: _bundle(parts))
    return tuple(findings)


def _database(parts: DoctorParts, servers: Servers, session: Session) -> Iterator[Finding]:
    server = server_facts(session)
    yield from _server(server)
    yield from _clock(server)
    yield from _guarded("client tools", lambda: _tools(parts, server))
    yield from _guarded("read rights", lambda: _read_rights(session))
    yield from _guarded("restore rights", lambda: _restore_rights(servers))
    yield from _guarded("server space", lambda: _server_space(parts, servers, server))
    yield from _guarded("repository", lambda: _repository(parts, session))
    yield from _guarded("repository keys", lambda: _repository_keys(parts))
    yield from _guarded("extensions", lambda: _extensions(parts, session))
    yield from _guarded("audit chain", lambda: _chain(parts, session))


def _server(server: ServerFacts) -> Iterator[Finding]:
    tls = "TLS" if server.tls else "no TLS"
    said = f"PostgreSQL {server.version}, {tls}, direct connection"
    if server.in_recovery:
        yield Finding(
            name="server",
            status=Status.WARNING,
            message=f"{said}, a standby: snapshots can be taken there, nothing can be restored",
            hint="give the DSN of the primary for a restore",
        )
    elif not server.tls and not server.local:
        yield Finding(
            name="server",
            status=Status.WARNING,
            message=f"{said}: rows and password cross the network in the clear",
            hint="add `sslmode=verify-full` to the DSN",
        )
    else:
        yield _ok("server", said)


def _clock(server: ServerFacts) -> Iterator[Finding]:
    skew = datetime.now(UTC) - server.now
    if abs(skew) > _CLOCK_SKEW:
        yield Finding(
            name="clock",
            status=Status.WARNING,
            message=f"this machine's clock is {skew.total_seconds():+.0f} s from the server's",
            hint="timedatectl set-ntp true",
        )
    else:
        yield _ok("clock", "agrees with the server's")


def _tools(parts: DoctorParts, server: ServerFacts) -> Iterator[Finding]:
    tools = parts.tools(server.major)
    said = f"`pg_dump` and `pg_restore` {tools.version} in `{tools.bin_dir}`"
    if tools.major == server.major:
        yield _ok("client tools", said)
    else:
        yield Finding(
            name="client tools",
            status=Status.WARNING,
            message=f"{said}, for a server of version {server.major}",
            hint=f"apt install postgresql-client-{server.major}",
        )


def _read_rights(session: Session) -> Iterator[Finding]:
    hidden = unreadable_tables(session)
    if not hidden:
        yield _ok("read rights", "every table and sequence can be read")
        return
    first = hidden[0]
    yield Finding(
        name="read rights",
        status=Status.FAILED,
        message=f"{len(hidden)} tables or sequences cannot be read, such as "
        f"`{first.schema}.{first.name}`: {first.reason}",
        hint="psql -c 'grant pg_read_all_data to …'",
    )


def _restore_rights(servers: Servers) -> Iterator[Finding]:
    with servers.maintenance() as maintenance:
        role = role_facts(maintenance)
        rights.refuse_missing_rights(role, maintenance, servers.database)
        rights.refuse_foreign_sessions(maintenance, servers.database)
        prechecks.refuse_prepared_transactions(maintenance, servers.database)
    yield _ok("restore rights", f"role `{role.name}` may create, rename and end sessions")


def _server_space(parts: DoctorParts, servers: Servers, server: ServerFacts) -> Iterator[Finding]:
    with servers.maintenance() as maintenance:
        facts = database_facts(maintenance, servers.database)
        # The administrator may see the data folder where the application's role may not.
        told = server_facts(maintenance)
    size = (facts.size_bytes if facts else None) or 0
    free = parts.server_free_bytes
    if free is None:
        free = prechecks_space.measured_free(told) or prechecks_space.measured_free(server)
    if free is None:
        yield Finding(
            name="server space",
            status=Status.WARNING,
            message=f"the database has {size:,} bytes; free space on the server is not known",
            hint="set `[database] server_free_space`",
        )
    elif free < size:
        yield Finding(
            name="server space",
            status=Status.FAILED,
            message=f"the database has {size:,} bytes and the server {free:,} free: "
            "a restore beside it does not fit",
            hint="free space on the server",
        )
    else:
        yield _ok("server space", f"the database has {size:,} bytes, the server {free:,} free")


def _repository(parts: DoctorParts, session: Session) -> Iterator[Finding]:
    raw = sum(table.total_bytes for table in tables(session))
    low, high = (int(raw * share) for share in _DUMP_SHARE)
    estimate = f"tables have {raw:,} bytes, a dump about {low:,} to {high:,}"
    if parts.repository is None:
        yield Finding(
            name="repository",
            status=Status.WARNING,
            message=f"none is set; {estimate}",
            hint="export ALEXANDRIA_REPOSITORY=/var/backups/alexandria",
        )
        return
    store = parts.repository()
    # A listing shows that it is there and that we may look.
    next(iter(store.list(recursive=False)), None)
    free = store.free_bytes()
    if free is not None and free < high:
        yield Finding(
            name="repository",
            status=Status.FAILED if free < low else Status.WARNING,
            message=f"`{store.url}` has {free:,} bytes free; {estimate}",
            hint="free space there, or choose another repository",
        )
    else:
        room = "no limit known" if free is None else f"{free:,} bytes free"
        yield _ok("repository", f"`{store.url}`, {room}; {estimate}")


def _repository_keys(parts: DoctorParts) -> Iterator[Finding]:
    """Say who can read a repository, and whether this machine can write it."""
    repository = parts.opened() if parts.repository is not None else None
    if repository is None:
        return
    sealed = f"sealed to {len(repository.recipients)} recipients" * bool(repository.recipients)
    said = f"`{repository.id}`, {sealed or 'not encrypted'}, "
    said += f"signed by {', '.join(f'`{key.name}`' for key in repository.trusted) or 'nobody'}"
    refusal = repository.settled.refusal
    if refusal is not None:
        yield Finding(
            name="repository keys",
            status=Status.FAILED,
            message=f"{said}; not writable from here: {refusal.message}",
            hint=refusal.hint,
        )
    elif repository.lost_heads():
        yield Finding(
            name="repository keys",
            status=Status.WARNING,
            message=f"{said}; its ledger lacks entries that this machine has seen",
            hint="alexandria repository check",
        )
    else:
        yield _ok("repository keys", said)


def _extensions(parts: DoctorParts, session: Session) -> Iterator[Finding]:
    """Compare what the database and the newest snapshot use with what the server has files for."""
    available = available_extensions(session)
    manifest = parts.newest() if parts.repository is not None else None
    needed = {*installed_extensions(session), *(manifest.extensions if manifest else ())}
    missing = sorted(needed - set(available))
    of = f"the database and `{manifest.snapshot}` use" if manifest else "the database uses"
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        yield Finding(
            name="extensions",
            status=Status.FAILED,
            message=f"the server has no files for {names}, which {of}",
            hint=f"apt install postgresql-{session.server_version // 10_000}-{missing[0]}",
        )
        return
    listed = ", ".join(f"`{name}`" for name in sorted(needed)) or "none"
    yield _ok("extensions", f"the server has all that {of}: {listed}")


def _chain(parts: DoctorParts, session: Session) -> Iterator[Finding]:
    fit = parts.chain().fit(session)
    # Where no chain is found, none is required unless the settings say so.
    required = fit is not None if parts.chain_required is None else parts.chain_required
    bad = Status.FAILED if required else Status.WARNING
    if fit is None:
        yield Finding(
            name="audit chain",
            status=bad if required else Status.OK,
            message="there is no audit table",
            hint="set `[audit] table` to `schema.name`" if required else None,
        )
    elif fit.good:
        yield _ok("audit chain", fit.message)
    else:
        yield Finding(name="audit chain", status=bad, message=fit.message, hint=fit.hint)


def _application(parts: DoctorParts) -> Iterator[Finding]:
    application = parts.application()
    application.platform.check()
    for advice in application.platform.advice():
        yield Finding(
            name="application",
            status=Status.WARNING,
            message=advice.message,
            hint=advice.command,
        )
    managed = application.platform.managed
    how = "can be stopped and started" if managed else "is not stopped by us: the fence is the lock"
    if application.probe is None:
        yield Finding(
            name="application",
            status=Status.WARNING,
            message=f"{how}; no URL is set, so nobody asks whether it is ready",
            hint="set `[application] url`",
        )
        return
    answer = application.probe.ask()
    status = Status.OK if answer.ready and managed else Status.WARNING
    yield Finding(
        name="application", status=status, message=f"{how}; `/ready` answers {answer.said}"
    )


def _state_folder(folder: Path) -> Iterator[Finding]:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"a journal fits\n")
                file.flush()
                os.fsync(file.fileno())
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        free = shutil.disk_usage(there).free
    except OSError as error:
        yield Finding(
            name="state folder",
            status=Status.FAILED,
            message=f"`{folder}` cannot be written: {error.strerror}",
            hint="export ALEXANDRIA_STATE_DIR=$HOME/alexandria-state",
        )
        return
    how = "can be written" if there == folder else f"will be made in `{there}`"
    yield _ok("state folder", f"`{folder}` {how}, {free:,} bytes free")


def _names(parts: DoctorParts) -> Iterator[Finding]:
    ours = parts.program.parent
    for name in _OUR_NAMES:
        first = next((d / name for d in parts.path if os.access(d / name, os.X_OK)), None)
        if first is not None and first.resolve().parent != ours.resolve():
            yield Finding(
                name="program",
                status=Status.WARNING,
                message=f"`{name}` on PATH is `{first}`, another program than this one",
                hint=f"{ours / name} doctor",
            )


def _bundle(parts: DoctorParts) -> Iterator[Finding]:
    if parts.bundle is None:
        return
    for message, hint in bundle_doubt(parts.bundle):
        status = Status.WARNING if hint else Status.OK
        yield Finding(name="bundle", status=status, message=message, hint=hint)


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except AlexandriaError as error:
        yield _failed(name, error)


def _ok(name: str, message: str) -> Finding:
    return Finding(name=name, status=Status.OK, message=message)


def _failed(name: str, error: AlexandriaError) -> Finding:
    return Finding(name=name, status=Status.FAILED, message=error.message, hint=error.hint)
