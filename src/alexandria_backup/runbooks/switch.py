"""The switch: stop the application, fence the database, swap by name, start the application.

`restore` and `rollback` share these steps; what differs is which database comes in. The swap is the
commit point. Each step reads from the server whether it has happened: names and OIDs are the truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from alexandria_backup.errors import (
    AlexandriaError,
    PlatformRefused,
    PrecheckRefused,
    ProofFailed,
    RestoreStopped,
    StatementFailed,
)
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.platforms.integrity_log import integrity_warnings
from alexandria_backup.platforms.license import LicenseReport
from alexandria_backup.platforms.platform import Platform, StopRecord
from alexandria_backup.platforms.readiness import ReadinessProbe
from alexandria_backup.postgres.activity import subscriptions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.fence import fence, lift
from alexandria_backup.postgres.identifiers import quote_identifier, quote_literal
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.postgres.shadow import Marker, kept_name, shadow_name
from alexandria_backup.postgres.swap import name_of, swap, who_is
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, RunState, shell


class DatabaseRef(BaseModel):
    """A database as the server knows it: names change in a swap, the OID does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    oid: int


class SwitchState(RunState):
    """What the steps of a switch need to know."""

    #: The name that the application uses.
    target: str
    #: The database of that name before the switch; None where there was none.
    live: DatabaseRef | None = None
    #: The database that takes the name over.
    incoming: DatabaseRef | None = None
    #: The name that the replaced database gets.
    kept_name: str = ""
    #: What the incoming database gets besides its rows: owner, settings, grants, comment.
    facts: DatabaseFacts | None = None
    #: True where the incoming database gets what the live one has when it is swapped out, and
    #: False where it keeps what it has itself.
    inherits: bool = False
    #: The marker of the kept database that comes in; None where a shadow does.
    incoming_marker: Marker | None = None
    #: The server's `system_identifier`, where the role may read it.
    server: int | None = None
    #: Subscriptions that were enabled in the live database before it was fenced.
    subscriptions: tuple[str, ...] = ()
    #: What stopping the application found; needed to start it as it was.
    stopped: StopRecord | None = None
    #: The licence before the switch, to compare with afterwards.
    license: LicenseReport | None = None


def refuse_other_server(servers: Servers, state: SwitchState) -> None:
    """Raise PrecheckRefused where a run would go on against another server or database.

    OIDs are the truth of a run, and a copy of the server has the same ones.
    """
    if servers.database != state.target:
        raise PrecheckRefused(
            f"run `{state.run}` works on `{state.target}`, and the DSN names `{servers.database}`",
            hint="give the DSN that the run was started with",
        )
    with servers.maintenance() as maintenance:
        found = server_facts(maintenance).system_identifier
    if None not in {found, state.server} and found != state.server:
        raise PrecheckRefused(
            f"run `{state.run}` was started on another server (system identifier {state.server}; "
            f"this one has {found})",
            hint="give the DSN that the run was started with",
        )


S = TypeVar("S", bound=SwitchState)


@dataclass(frozen=True, kw_only=True)
class Application:
    """The application, as far as a switch has to do with it."""

    platform: Platform
    #: None where no URL is set: readiness is then not checked, and that is said.
    probe: ReadinessProbe | None
    #: How long to wait for `/ready`, in seconds.
    patience_s: float


@dataclass(frozen=True, kw_only=True)
class StopApplication(Generic[S]):
    """Stop the application, so that nothing is written that the swap would leave behind."""

    name: ClassVar[str] = "stop-application"
    changes: ClassVar[bool] = True

    application: Application
    emit: Emit

    def explain(self, state: S) -> Explanation:  # noqa: ARG002 - the port's form
        """Say how the platform stops it."""
        return Explanation(sentence=self.application.platform.explain_stop())

    def do(self, state: S) -> Done[S]:
        """Stop it; what an earlier attempt found is kept."""
        found = self.application.platform.stop()
        if found.caution:
            self.emit(Note(message=found.caution))
        record = state.stopped or found
        result = "stopped" if found.stopped else "left running"
        return Done(state.model_copy(update={"stopped": record}), result)

    def undo(self, state: S) -> S:
        """Start it again."""
        platform = self.application.platform
        platform.start(
            state.stopped or StopRecord(platform=platform.name, was_running=None, stopped=True)
        )
        return state


@dataclass(frozen=True, kw_only=True)
class Fence(Generic[S]):
    """Let nobody into the live database and end who is in it: the lock that really holds."""

    name: ClassVar[str] = "fence"
    changes: ClassVar[bool] = True

    application: Application
    servers: Servers
    patience_s: float

    def explain(self, state: S) -> Explanation:
        """Name the two statements that do it."""
        if state.live is None:
            return Explanation(sentence=f"nothing: there is no `{state.target}` yet")
        database, name = quote_identifier(state.target), quote_literal(state.target)
        return Explanation(
            sentence=f"refuse connections to `{state.target}` and end its sessions",
            commands=(
                shell("psql", "-c", f"alter database {database} allow_connections false"),
                shell(
                    "psql",
                    "-c",
                    "select pg_terminate_backend(pid) from pg_stat_activity "  # noqa: S608 - shown
                    f"where datname = {name}",
                ),
            ),
        )

    def do(self, state: S) -> Done[S]:
        """Disable subscriptions, refuse connections, end sessions until there are none."""
        if state.live is None:
            return Done(state, "no live database")
        with self.servers.maintenance() as maintenance:
            name = name_of(maintenance, state.live.oid)
            if name != state.target:
                return Done(state, "already swapped")
            enabled = {s.name for s in subscriptions(maintenance, name) if s.enabled}
            if enabled and self.servers.accepts_connections(maintenance, name):
                with self.servers.session(name) as live:
                    for one in sorted(enabled):
                        live.execute(f"alter subscription {quote_identifier(one)} disable")
            fence(maintenance, name, patience=self.patience_s)
        if state.stopped is not None and state.stopped.stopped:
            # Long may have passed since the stop; nobody swaps under an application that runs.
            self.application.platform.confirm_stopped(state.stopped)
        found = tuple(sorted({*state.subscriptions, *enabled}))
        return Done(state.model_copy(update={"subscriptions": found}), "no session left")

    def undo(self, state: S) -> S:
        """Accept connections again and enable the subscriptions that were."""
        if state.live is None:
            return state
        with self.servers.maintenance() as maintenance:
            name = name_of(maintenance, state.live.oid)
            if name is None:
                raise ProofFailed(
                    f"the live database (OID {state.live.oid}) is not there any more",
                    hint=f"alexandria run show {state.run}",
                )
            lift(maintenance, name)
        if state.subscriptions:
            with self.servers.session(name) as live:
                for subscription in state.subscriptions:
                    live.execute(f"alter subscription {quote_identifier(subscription)} enable")
        return state


@dataclass(frozen=True, kw_only=True)
class Swap(Generic[S]):
    """Exchange the databases by name, in one transaction: the commit point."""

    name: ClassVar[str] = "swap"
    changes: ClassVar[bool] = True

    servers: Servers
    patience_s: float
    emit: Emit

    def explain(self, state: S) -> Explanation:
        """Name the two renames."""
        incoming = state.incoming.name if state.incoming else shadow_name(state.target)
        live, kept = quote_identifier(state.target), quote_identifier(state.kept_name)
        aside, put_aside = "", ""
        if state.live is not None:
            aside = f"`{state.target}` to `{state.kept_name}` and "
            put_aside = f"alter database {live} rename to {kept}; "
        return Explanation(
            sentence=f"rename {aside}`{incoming}` to `{state.target}`, in one transaction",
            commands=(
                shell(
                    "psql",
                    "-c",
                    f"begin; {put_aside}"
                    f"alter database {quote_identifier(incoming)} rename to {live}; commit",
                ),
            ),
        )

    def do(self, state: S) -> Done[S]:
        """Swap, unless the server says that it has happened."""
        incoming, facts = _ready(state)
        with self.servers.maintenance() as maintenance:
            if who_is(maintenance, state.target) == incoming.oid:
                return Done(state, "already swapped")
            name = name_of(maintenance, incoming.oid)
            if name is None:
                raise ProofFailed(
                    f"database `{incoming.name}` (OID {incoming.oid}) is not there any more",
                    hint=f"alexandria run abort {state.run}",
                )
            live = database_facts(maintenance, state.target) if state.live else None
            swap(
                maintenance,
                live=state.target,
                live_oid=state.live.oid if state.live else None,
                incoming=name,
                incoming_oid=incoming.oid,
                kept=state.kept_name,
                kept_marker=Marker(
                    run=state.run,
                    role="kept",
                    of=state.target,
                    comment=live.comment if live else None,
                ),
                facts=_now(maintenance, state, name, live) or facts,
            )
        return Done(state, f"`{state.target}` is the new database")

    def undo(self, state: S) -> S:
        """Swap back, where the swap has happened.

        The database that had come in is kept, under a name of its own: whatever was written to it
        since is not ours to drop.
        """
        if state.incoming is None:
            return state
        incoming, facts = _ready(state)
        with self.servers.maintenance() as maintenance:
            now = database_facts(maintenance, state.target)
            if now is None or now.oid != incoming.oid:
                return state
            back = database_facts(maintenance, state.kept_name) if state.live else None
            marker = Marker.decode(back.comment) if back else None
            fence(maintenance, state.target, patience=self.patience_s)
            aside = self._undone_name(state, incoming)
            swap(
                maintenance,
                live=state.target,
                live_oid=incoming.oid,
                incoming=state.kept_name if state.live else None,
                incoming_oid=state.live.oid if state.live else None,
                kept=aside,
                kept_marker=state.incoming_marker
                or Marker(run=state.run, role="kept", of=state.target, comment=now.comment),
                facts=usable(back, marker.comment if marker else None) if back else facts,
            )
        self.emit(
            Note(
                message=f"the database that had come in is kept as `{aside}`, with all that was "
                f"written to it; forward again: alexandria rollback {state.run}"
            )
        )
        return state

    def _undone_name(self, state: S, incoming: DatabaseRef) -> str:
        if state.incoming_marker is not None:
            return incoming.name
        return kept_name(state.target, f"{state.run.rpartition('-')[2]}_undone")


@dataclass(frozen=True, kw_only=True)
class StartApplication(Generic[S]):
    """Start the application and wait until it says that it is ready."""

    name: ClassVar[str] = "start-application"
    changes: ClassVar[bool] = True

    application: Application
    servers: Servers
    emit: Emit
    #: Statements that return true if the data that the application has now are good.
    checks: tuple[str, ...] = ()

    def explain(self, state: S) -> Explanation:  # noqa: ARG002 - the port's form
        """Say how the platform starts it and what is asked then."""
        probe = self.application.probe
        commands = (
            (
                shell("curl", "--fail", f"{probe.url}/ready"),
                shell("curl", "--fail", f"{probe.url}/license"),
            )
            if probe
            else ()
        )
        return Explanation(sentence=self.application.platform.explain_start(), commands=commands)

    def do(self, state: S) -> Done[S]:
        """Start it, wait for `/ready`, compare `/license`, run the checks, read the log."""
        self._refuse_superseded(state)
        platform, began = self.application.platform, datetime.now(UTC)
        platform.start(
            state.stopped or StopRecord(platform=platform.name, was_running=None, stopped=True)
        )
        warnings, result = self._serves(state)
        warnings += (*self._failed_checks(state), *self._doubts(began))
        for warning in warnings:
            self.emit(Warned(message=warning))
        found = state.model_copy(update={"warnings": (*state.warnings, *warnings)})
        return Done(found, result)

    def _serves(self, state: S) -> tuple[tuple[str, ...], str]:
        """Return what is to be warned of, and what the application says of itself."""
        probe = self.application.probe
        if probe is None:
            self.emit(Note(message="`[application] url` is not set, so `/ready` was not asked"))
            return (), "not asked whether it is ready"
        report = probe.wait_ready(patience_s=self.application.patience_s)
        said = probe.license()
        result = f"`/ready` 200 after {report.seconds:.1f} s, licence {_license(said)}"
        if state.license is None or said == state.license:
            return (), result
        return (
            f"`/license` changed: {_license(state.license)} before, {_license(said)} now",
        ), result

    def _failed_checks(self, state: S) -> Iterator[str]:
        """Ask the checks of the database that the application has now."""
        if not self.checks:
            return
        try:
            with self.servers.session(state.target, "checks") as session:
                for statement in self.checks:
                    if session.value(statement) is not True:
                        yield f"with the application running, `{statement}` did not return true"
        except StatementFailed as error:
            yield f"with the application running, a check failed: {error.message}"

    def _doubts(self, began: datetime) -> Iterator[str]:
        """Look for doubts about the audit chain in what the application has said since then."""
        try:
            log = self.application.platform.log_since(began)
        except PlatformRefused as error:
            yield f"the application's log was not read: {error.message}"
            return
        found = integrity_warnings(log or "")
        if found:
            yield (
                f"{len(found)} lines of the application's log doubt the audit chain, "
                f"the first: {found[0]}"
            )

    def undo(self, state: S) -> S:
        """Stop it, so that the databases can be swapped back."""
        self.application.platform.stop()
        return state

    def _refuse_superseded(self, state: S) -> None:
        """A rollback may have come between: this run's database is then not the live one."""
        if state.incoming is None:
            return
        with self.servers.maintenance() as maintenance:
            found = who_is(maintenance, state.target)
        if found != state.incoming.oid:
            raise RestoreStopped(
                f"`{state.target}` is not the database that this run has brought in any more",
                hint=f"alexandria run abort {state.run}",
            )


def _now(
    maintenance: Session, state: SwitchState, incoming: str, live: DatabaseFacts | None
) -> DatabaseFacts | None:
    """Return what the incoming database is to have, as it is now: somebody may have changed it.

    None where only the snapshot knows, as on a server that lost the database.
    """
    if state.inherits and live is not None:
        return usable(live, live.comment)
    if state.incoming_marker is not None:
        own = database_facts(maintenance, incoming)
        return usable(own, state.incoming_marker.comment) if own else None
    return None


def usable(facts: DatabaseFacts, comment: str | None) -> DatabaseFacts:
    """Return the facts of a database that is to be used again: open, and with its own comment."""
    return replace(facts, comment=comment, allow_connections=True)


def warn_of_the_platform(application: Application, emit: Emit) -> None:
    """Raise PlatformRefused where a stop or a start could not work; pass advice on."""
    application.platform.check()
    for advice in application.platform.advice():
        emit(Warned(message=advice.message, hint=advice.command))


def license_before(application: Application) -> LicenseReport | None:
    """Return what `/license` says now, or None where it says nothing: then nothing is compared."""
    if application.probe is None:
        return None
    try:
        return application.probe.license()
    except AlexandriaError:
        return None


def _ready(state: SwitchState) -> tuple[DatabaseRef, DatabaseFacts]:
    if state.incoming is None or state.facts is None:
        raise ProofFailed(
            "there is no database to swap in", hint=f"alexandria run abort {state.run}"
        )
    return state.incoming, state.facts


def _license(report: LicenseReport) -> str:
    expires = f"{report.expires:%Y-%m-%d}" if report.expires else "unknown"
    return f"{report.tier}, {report.seats} seats, until {expires}"
