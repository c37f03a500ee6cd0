"""The first and the last step of a switch: stop the application, start it again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar

from alexandria_backup.errors import (
    AlexandriaError,
    PlatformRefused,
    RestoreStopped,
)
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.platforms.integrity_log import integrity_warnings
from alexandria_backup.platforms.license import LicenseReport
from alexandria_backup.platforms.platform import Platform, StopRecord
from alexandria_backup.platforms.readiness import ReadinessProbe
from alexandria_backup.postgres.aside import kept_aside
from alexandria_backup.postgres.swap import who_is
from alexandria_backup.runbooks.application_checks import ApplicationChecks
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.runbooks.stopping import StoppingState
from alexandria_backup.runbooks.switch import SwitchState

A = TypeVar("A", bound=StoppingState)
S = TypeVar("S", bound=SwitchState)


@dataclass(frozen=True, kw_only=True)
class Application:
    """The application, as far as a switch has to do with it."""

    platform: Platform
    #: None where no URL is set: readiness is then not checked, and that is said.
    probe: ReadinessProbe | None
    #: How long to wait for `/ready`, in seconds.
    patience_s: float

    def start(self, stopped: StopRecord | None, run: str) -> None:
        """Start what a run has stopped, or whatever there is where it noted nothing.

        Raises PlatformRefused where the settings name another platform than stopped it.
        """
        name = self.platform.name
        record = stopped or StopRecord(platform=name, was_running=None, stopped=True)
        if record.platform != name:
            raise PlatformRefused(
                f"the application was stopped on `{record.platform}`, "
                f"and the settings say that `{name}` runs it",
                hint=f"ALEXANDRIA_APPLICATION__PLATFORM={record.platform} "
                f"alexandria run resume {run}",
            )
        self.platform.start(record)


@dataclass(frozen=True, kw_only=True)
class StopApplication(Generic[A]):
    """Stop the application, so that it reads and writes nothing in the middle of an exchange."""

    name: ClassVar[str] = "stop-application"
    changes: ClassVar[bool] = True

    application: Application
    emit: Emit

    def explain(self, state: A) -> Explanation:  # noqa: ARG002 - the port's form
        """Say how the platform stops it."""
        return Explanation(sentence=self.application.platform.explain_stop())

    def do(self, state: A) -> Done[A]:
        """Stop it; what an earlier attempt found is kept."""
        found = self.application.platform.stop()
        if found.caution:
            self.emit(Note(message=found.caution))
        record = state.stopped or found
        result = "stopped" if found.stopped else "left running"
        return Done(state.model_copy(update={"stopped": record}), result)

    def undo(self, state: A) -> A:
        """Start it again."""
        self.application.start(state.stopped, state.run)
        return state


@dataclass(frozen=True, kw_only=True)
class StopWriting(StopApplication[S]):
    """Stop the application before its database is exchanged."""

    checks: ApplicationChecks

    def undo(self, state: S) -> S:
        """Start it again, and ask the checks of the database that it has kept."""
        self.application.start(state.stopped, state.run)
        warnings = tuple(self.checks.failed(state.target))
        for warning in warnings:
            self.emit(Warned(message=warning))
        return state.model_copy(update={"warnings": (*state.warnings, *warnings)})


@dataclass(frozen=True, kw_only=True)
class StartAgain(Generic[A]):
    """Start the application and wait until it says that it is ready."""

    name: ClassVar[str] = "start-application"
    changes: ClassVar[bool] = True
    #: What is asked of the application.
    asked: ClassVar[tuple[str, ...]] = ("/ready",)

    application: Application
    emit: Emit

    def explain(self, state: A) -> Explanation:  # noqa: ARG002 - the port's form
        """Say how the platform starts it and what is asked then."""
        probe = self.application.probe
        urls = [f"{probe.url}{path}" for path in self.asked] if probe else ()
        commands = tuple(shell("curl", "--fail", url) for url in urls)
        return Explanation(sentence=self.application.platform.explain_start(), commands=commands)

    def do(self, state: A) -> Done[A]:
        """Start it and wait for `/ready`."""
        self.application.start(state.stopped, state.run)
        return Done(state, self.ready() or "not asked whether it is ready")

    def undo(self, state: A) -> A:
        """Stop it, so that what was exchanged can be put back."""
        self.application.platform.stop()
        return state

    def ready(self) -> str | None:
        """Wait until it serves and return how that was seen; None where nothing can be asked."""
        probe = self.application.probe
        if probe is None:
            self.emit(Note(message="`[application] url` is not set, so `/ready` was not asked"))
            return None
        report = probe.wait_ready(patience_s=self.application.patience_s)
        return f"`/ready` 200 after {report.seconds:.1f} s"


@dataclass(frozen=True, kw_only=True)
class StartApplication(StartAgain[S]):
    """Start the application on the database that has come in, and look whether all is well."""

    asked: ClassVar[tuple[str, ...]] = ("/ready", "/license")

    servers: Servers
    checks: ApplicationChecks

    def do(self, state: S) -> Done[S]:
        """Start it, wait for `/ready`, compare `/license`, run the checks, read the log."""
        self._refuse_superseded(state)
        began = datetime.now(UTC)
        self.application.start(state.stopped, state.run)
        warnings, result = self._serves(state)
        warnings += (*self.checks.failed(state.target), *self._doubts(began))
        for warning in warnings:
            self.emit(Warned(message=warning))
        found = state.model_copy(update={"warnings": (*state.warnings, *warnings)})
        return Done(found, result)

    def _serves(self, state: S) -> tuple[tuple[str, ...], str]:
        """Return what is to be warned of, and what the application says of itself."""
        ready, probe = self.ready(), self.application.probe
        if ready is None or probe is None:
            return (), "not asked whether it is ready"
        said = probe.license()
        result = f"{ready}, licence {_license(said)}"
        if state.license is None or said == state.license:
            return (), result
        return (
            f"`/license` changed: {_license(state.license)} before, {_license(said)} now",
        ), result

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
                f"the application's log doubts the audit chain, in {len(found)} of its lines; "
                f"the first: {found[0]}"
            )

    def _refuse_superseded(self, state: S) -> None:
        """A rollback may have come between: this run's database is then not the live one."""
        if state.incoming is None:
            return
        if state.works_in_place:
            with self.servers.session(state.target, "start") as session:
                superseded = not kept_aside(session, state.run)
        else:
            with self.servers.maintenance() as maintenance:
                superseded = who_is(maintenance, state.target) != state.incoming.oid
        if superseded:
            raise RestoreStopped(
                f"`{state.target}` is not what this run has brought in any more",
                hint=f"alexandria run abort {state.run}",
            )


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


def _license(report: LicenseReport) -> str:
    expires = f"{report.expires:%Y-%m-%d}" if report.expires else "unknown"
    return f"{report.tier}, {report.seats} seats, until {expires}"
