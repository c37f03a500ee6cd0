"""Doctor: everything that can be checked before it is needed, one line each.

It changes nothing, but that it removes what killed processes have left in temporary folders.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.errors import AlexandriaError
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.opened import Repository
from alexandria_backup.runbooks import doctor_server
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.doctor_bundle import BundleCheck, bundle_doubt
from alexandria_backup.runbooks.doctor_diagnosis import Diagnosis, Status, failed, ok
from alexandria_backup.runbooks.doctor_machine import left_over, programs, state_folder
from alexandria_backup.runbooks.doctor_repository import (
    extensions,
    repository_keys,
    repository_space,
)
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.switch_application import Application
from alexandria_backup.storage.store import ObjectStore


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
    #: Where drills keep their servers.
    drill_folder: Path
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


def examine(parts: DoctorParts) -> tuple[Diagnosis, ...]:
    """Run all checks; one that fails does not keep the others from being run."""
    findings = [
        *state_folder(parts.state_dir),
        *programs(parts.program, parts.path),
        *left_over(parts.drill_folder),
    ]
    try:
        servers, source = parts.servers()
    except AlexandriaError as error:
        return (failed("dsn", error), *findings, *_guarded("bundle", lambda: _bundle(parts)))
    findings.insert(0, ok("dsn", f"`{servers.application}`, from {source}"))
    try:
        with servers.session(servers.database, "doctor") as session:
            findings += _database(parts, servers, session)
    except AlexandriaError as error:
        findings.append(failed("server", error))
    findings += _guarded("application", lambda: _application(parts))
    findings += _guarded("bundle", lambda: _bundle(parts))
    return tuple(findings)


def _database(parts: DoctorParts, servers: Servers, session: Session) -> Iterator[Diagnosis]:
    facts = server_facts(session)
    yield from doctor_server.server(facts)
    yield from doctor_server.clock(facts)
    yield from _guarded("client tools", lambda: doctor_server.client_tools(parts.tools, facts))
    yield from _guarded(
        "application login", lambda: doctor_server.application_login(servers, session)
    )
    yield from _guarded("read rights", lambda: doctor_server.read_rights(session))
    yield from _guarded("restore rights", lambda: doctor_server.restore_rights(servers))
    yield from _guarded(
        "server space",
        lambda: doctor_server.server_space(parts.server_free_bytes, servers, facts),
    )
    yield from _guarded("repository", lambda: repository_space(parts.repository, session))
    yield from _guarded("repository keys", lambda: repository_keys(_opened(parts)))
    yield from _guarded("extensions", lambda: extensions(_newest(parts), session))
    yield from _guarded("audit chain", lambda: _chain(parts, session))


def _opened(parts: DoctorParts) -> Repository | None:
    return parts.opened() if parts.repository is not None else None


def _newest(parts: DoctorParts) -> Manifest | None:
    return parts.newest() if parts.repository is not None else None


def _chain(parts: DoctorParts, session: Session) -> Iterator[Diagnosis]:
    fit = parts.chain().fit(session)
    # Where no chain is found, none is required unless the settings say so.
    required = fit is not None if parts.chain_required is None else parts.chain_required
    bad = Status.FAILED if required else Status.WARNING
    if fit is None:
        yield Diagnosis(
            name="audit chain",
            status=bad if required else Status.OK,
            message="there is no audit table",
            hint="set `[audit] table` to `schema.name`" if required else None,
        )
    elif fit.good:
        yield ok("audit chain", fit.message)
    else:
        yield Diagnosis(name="audit chain", status=bad, message=fit.message, hint=fit.hint)


def _application(parts: DoctorParts) -> Iterator[Diagnosis]:
    application = parts.application()
    application.platform.check()
    for advice in application.platform.advice():
        yield Diagnosis(
            name="application",
            status=Status.WARNING,
            message=advice.message,
            hint=advice.command,
        )
    managed = application.platform.managed
    how = "can be stopped and started" if managed else "is not stopped by us: the fence is the lock"
    if application.probe is None:
        yield Diagnosis(
            name="application",
            status=Status.WARNING,
            message=f"{how}; no URL is set, so nobody asks whether it is ready",
            hint="set `[application] url`",
        )
        return
    answer = application.probe.ask()
    status = Status.OK if answer.ready and managed else Status.WARNING
    yield Diagnosis(
        name="application", status=status, message=f"{how}; `/ready` answers {answer.said}"
    )


def _bundle(parts: DoctorParts) -> Iterator[Diagnosis]:
    if parts.bundle is None:
        return
    for message, hint in bundle_doubt(parts.bundle):
        status = Status.WARNING if hint else Status.OK
        yield Diagnosis(name="bundle", status=status, message=message, hint=hint)


def _guarded(name: str, check: Callable[[], Iterator[Diagnosis]]) -> Iterator[Diagnosis]:
    try:
        yield from check()
    except AlexandriaError as error:
        yield failed(name, error)
