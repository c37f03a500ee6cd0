"""The application around a switch: what a run has stopped is started where it was stopped."""

import sys
from pathlib import Path

import pytest

from alexandria_backup.errors import PlatformRefused
from alexandria_backup.platforms.platform import StopRecord
from alexandria_backup.platforms.unmanaged import UnmanagedPlatform
from alexandria_backup.runbooks.switch_application import Application


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
