"""The application around a switch: what a run has stopped is started where it was stopped."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from web_server_support import Handler, running

from alexandria_backup.errors import PlatformRefused
from alexandria_backup.events import Event, Warned
from alexandria_backup.platforms.license import LicenseReport
from alexandria_backup.platforms.platform import StopRecord
from alexandria_backup.platforms.readiness import ReadinessProbe
from alexandria_backup.platforms.unmanaged import UnmanagedPlatform
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.runbooks.application_checks import ApplicationChecks
from alexandria_backup.runbooks.check_queries import CheckQueries
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.switch import SwitchState
from alexandria_backup.runbooks.switch_application import Application, StartApplication
from alexandria_backup.secret import Secret


@pytest.fixture
def started(tmp_path: Path) -> Path:
    return tmp_path / "started"


@pytest.fixture
def application(started: Path) -> Application:
    touch = (sys.executable, "-c", f"open({str(started)!r}, 'w')")
    platform = UnmanagedPlatform(stop_command=touch, start_command=touch)
    return Application(platform=platform, probe=None, patience_s=1.0)


def test_it_is_not_started_where_it_was_not_stopped(
    application: Application, started: Path
) -> None:
    elsewhere = StopRecord(platform="kubernetes", was_running=True, stopped=True)
    with pytest.raises(PlatformRefused, match="stopped on `kubernetes`") as refused:
        application.start(elsewhere, "restore-1")
    assert refused.value.hint == (
        "ALEXANDRIA_APPLICATION__PLATFORM=kubernetes alexandria run resume restore-1"
    )
    assert not started.exists()


def test_it_is_started_where_nothing_was_noted(application: Application, started: Path) -> None:
    application.start(None, "restore-1")
    assert started.exists()


LICENSE = {"tier": "enterprise", "seats": 100, "expires": "2032-01-01T00:00:00Z"}


@pytest.fixture
def licensed(application: Application) -> Iterator[Application]:
    """The application serves, and tells a licence of 100 seats."""

    class Licensed(Handler):
        def serve(self, method: str) -> None:
            self.answer(200, LICENSE if self.path == "/license" else {})

    with running(Licensed) as url:
        yield Application(
            platform=application.platform, probe=ReadinessProbe(url=url), patience_s=10.0
        )


@pytest.mark.parametrize(
    ("tier", "seats", "year", "said"),
    [
        ("enterprise", 100, 2032, ()),
        ("team", 100, 2032, ("team, 100 seats, until 2032-01-01 before",)),
        ("enterprise", 250, 2032, ("enterprise, 250 seats, until 2032-01-01 before",)),
        ("enterprise", 100, 2033, ("enterprise, 100 seats, until 2033-01-01 before",)),
    ],
)
def test_a_licence_that_is_another_than_before_is_said(
    licensed: Application, tier: str, seats: int, year: int, said: tuple[str, ...]
) -> None:
    # No statement is set, so nothing is ever asked of this server.
    nobody = Dsn.parse(Secret("postgresql://nobody@127.0.0.1:1/none"))
    servers = Servers(application=nobody, administrator=None, timeouts=Timeouts())
    events: list[Event] = []
    step: StartApplication[SwitchState] = StartApplication(
        application=licensed,
        servers=servers,
        checks=ApplicationChecks(servers=servers, checks=CheckQueries(queries={}, timeout_s=0)),
        emit=events.append,
    )
    before = LicenseReport(
        tier=tier, seats=seats, expires=datetime(year, 1, 1, tzinfo=UTC), missing=()
    )
    done = step.do(SwitchState(run="restore-1", target="none", license=before))
    now = "enterprise, 100 seats, until 2032-01-01 now"
    expected = tuple(f"`/license` changed: {line}, {now}" for line in said)
    assert done.state.warnings == expected
    assert tuple(e.message for e in events if isinstance(e, Warned)) == expected
