import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standin_systemctl import CONFIGURED, REAL
from systemd_support import Host, has_systemctl

from alexandria_backup.errors import ApplicationNotReady, PlatformRefused
from alexandria_backup.platforms.platform import StoppedUnit, StopRecord
from alexandria_backup.platforms.systemd.memory import FILE_NAME, Memories
from alexandria_backup.platforms.systemd.platform import SystemdPlatform, is_installed
from alexandria_backup.platforms.systemd.systemctl import Systemctl

pytestmark = pytest.mark.skipif(not has_systemctl(), reason=f"there is no `{REAL}`")

API, WORKER = "alexandria-api.service", "alexandria-worker.service"
NOTHING_KNOWN = StopRecord(platform="systemd", was_running=None, stopped=True)


@pytest.fixture
def platform(host: Host) -> SystemdPlatform:
    return SystemdPlatform(
        systemctl=Systemctl(user=False, timeout_s=30),
        units=(),
        memories=Memories(folder=host.configured),
        start_patience_s=1,
    )


def is_enabled(host: Host, unit: str) -> str:
    """Ask the real `systemctl`."""
    asked = subprocess.run(
        [REAL, f"--root={host.root}", "is-enabled", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()


def left_behind(host: Host) -> list[str]:
    return sorted(path.name for path in host.configured.iterdir())


def test_what_runs_is_masked_and_stopped_and_started_again(
    platform: SystemdPlatform, host: Host
) -> None:
    platform.check()
    record = platform.stop()
    assert record.units == (
        StoppedUnit(name=API, instances=1),
        StoppedUnit(name=WORKER, instances=0),
    )
    assert (host.state(API), is_enabled(host, API), is_enabled(host, WORKER)) == (
        "inactive",
        "masked",
        "masked",
    )
    refused = subprocess.run(["systemctl", "start", API], capture_output=True, check=False)
    assert refused.returncode != 0
    platform.start(record)
    assert (host.state(API), host.state(WORKER)) == ("active", "inactive")
    assert is_enabled(host, API) == "disabled"
    assert left_behind(host) == []


def test_both_may_be_called_twice(platform: SystemdPlatform, host: Host) -> None:
    record = platform.stop()
    assert platform.stop() == record
    platform.start(record)
    platform.start(record)
    assert host.state(API) == "active"
    assert left_behind(host) == []


@pytest.mark.parametrize("verb", ["mask", "stop", "unmask", "start"])
def test_a_kill_anywhere_loses_nothing(
    platform: SystemdPlatform, host: Host, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Systemctl.run
    armed = [True]

    def dies(self: Systemctl, *words: str) -> str:
        said = original(self, *words)
        if words[0] == verb and armed:
            armed.clear()
            raise KeyboardInterrupt
        return said

    monkeypatch.setattr(Systemctl, "run", dies)
    with pytest.raises(KeyboardInterrupt):
        platform.start(platform.stop())
    # Another process, which knows nothing of the first one.
    platform.stop()
    platform.start(NOTHING_KNOWN)
    assert host.state(API) == "active"
    assert (host.state(WORKER), left_behind(host)) == ("inactive", [])


def test_a_unit_whose_file_is_in_the_way_of_the_mask_is_kept_down_all_the_same(
    platform: SystemdPlatform, host: Host
) -> None:
    host.install("alexandria-own.service", where=CONFIGURED)
    record = platform.stop()
    assert not host.is_masked("alexandria-own.service")
    subprocess.run(["systemctl", "start", "alexandria-own.service"], check=True)
    assert host.state("alexandria-own.service") == "inactive"
    platform.start(record)
    assert host.state("alexandria-own.service") == "active"
    assert left_behind(host) == ["alexandria-own.service"]


def test_a_unit_that_was_masked_before_stays_so(platform: SystemdPlatform, host: Host) -> None:
    subprocess.run(["systemctl", "mask", WORKER], check=True, capture_output=True)
    platform.start(platform.stop())
    assert is_enabled(host, WORKER) == "masked"
    assert not (host.configured / f"{WORKER}.d").exists()


def test_drop_ins_of_the_operator_stay(platform: SystemdPlatform, host: Host) -> None:
    own = host.configured / f"{API}.d" / "limits.conf"
    own.parent.mkdir()
    own.write_text("[Service]\nLimitNOFILE=4096\n")
    record = platform.stop()
    assert (own.parent / FILE_NAME).exists()
    platform.start(record)
    assert [path.name for path in own.parent.iterdir()] == ["limits.conf"]


def test_the_drop_in_is_one_that_systemd_accepts(
    platform: SystemdPlatform, host: Host, tmp_path: Path
) -> None:
    platform.stop()
    drop_in = (host.configured / f"{API}.d" / FILE_NAME).read_text()
    unit = tmp_path / "x.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n" + drop_in)
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    # Its exit code says nothing of what it has only warned of.
    assert "x.service" not in verified.stderr


@pytest.mark.parametrize(
    "unit",
    [
        "alexandria-backup.service",
        "alexandria-snapshot.service",
        "alexandria-postgres.service",
        "alexandria-db.service",
        "alexandria-llm-network.service",
        "alexandria-data-volume.service",
        "alexandria-task@.service",
    ],
)
def test_what_is_not_the_application_goes_on(
    platform: SystemdPlatform, host: Host, unit: str
) -> None:
    host.install(unit)
    record = platform.stop()
    assert host.state(unit) == "active"
    assert unit not in {stopped.name for stopped in record.units}


def test_named_units_are_the_only_ones(platform: SystemdPlatform, host: Host) -> None:
    host.install("own.service")
    record = replace(platform, units=("own",)).stop()
    assert record.units == (StoppedUnit(name="own.service", instances=1),)
    assert host.state(API) == "active"
    with pytest.raises(PlatformRefused, match=r"no unit `none\.service`"):
        replace(platform, units=("none",)).check()


def test_no_unit_at_all_is_a_refusal(platform: SystemdPlatform, host: Host) -> None:
    for path in host.root.rglob("alexandria-*.service"):
        path.unlink()
    with pytest.raises(PlatformRefused, match=r"no unit `alexandria-api\.service`"):
        platform.check()


def test_a_unit_that_fails_to_start_is_named(platform: SystemdPlatform, host: Host) -> None:
    record = platform.stop()
    host.hook(API, "start", "/bin/false")
    with pytest.raises(ApplicationNotReady, match="is not active") as caught:
        platform.start(record)
    assert caught.value.hint == f"journalctl --unit={API} --lines=50"
    host.hook(API, "start", "/bin/true")
    platform.start(NOTHING_KNOWN)
    assert host.state(API) == "active"


def test_a_unit_that_was_started_meanwhile_is_noticed(
    platform: SystemdPlatform, host: Host
) -> None:
    record = platform.stop()
    platform.confirm_stopped(record)
    host.be(API, "active")
    with pytest.raises(PlatformRefused, match="runs while it is to be stopped"):
        platform.confirm_stopped(record)


def test_units_of_a_user_are_asked_of_the_users_manager(
    platform: SystemdPlatform, host: Host
) -> None:
    rootless = replace(platform, systemctl=Systemctl(user=True, timeout_s=30))
    rootless.start(rootless.stop())
    assert all(call.startswith("--user ") for call in host.calls)
    assert host.state(API) == "active"


def test_the_journal_of_the_units_is_read(platform: SystemdPlatform) -> None:
    assert platform.log_since(datetime.now(UTC)) == "INFO serving\n"


def test_a_plan_names_the_commands(platform: SystemdPlatform) -> None:
    assert "`systemctl mask --now 'alexandria-*.service'`" in platform.explain_stop()
    named = replace(platform, units=("alexandria-api",))
    assert named.explain_start().endswith(
        "`systemctl unmask alexandria-api && systemctl start alexandria-api`"
    )


def test_a_command_that_hangs_or_fails_is_told(host: Host) -> None:
    (host.programs / "systemctl").write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(PlatformRefused, match=r"did not end within 0\.2 s"):
        Systemctl(user=False, timeout_s=0.2).run("stop", API)
    (host.programs / "systemctl").write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    with pytest.raises(PlatformRefused, match="ended with exit code 1: no bus"):
        Systemctl(user=False, timeout_s=5).run("stop", API)


def test_without_systemd_it_says_so(platform: SystemdPlatform, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(PlatformRefused, match="no `systemctl`"):
            platform.check()


def test_a_user_without_units_has_none_installed() -> None:
    assert not is_installed(user=True)
