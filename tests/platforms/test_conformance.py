"""What every platform holds to, whatever runs the application; see `platforms/platform.py`."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_kubernetes_api_support import Served
from systemd_support import Host, has_systemctl

from alexandria_backup.cluster.access import ClusterPlace
from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.platforms.kubernetes.platform import KubernetesPlatform
from alexandria_backup.platforms.platform import Platform, StopRecord
from alexandria_backup.platforms.systemd.memory import Memories
from alexandria_backup.platforms.systemd.platform import SystemdPlatform
from alexandria_backup.platforms.systemd.systemctl import Systemctl
from alexandria_backup.platforms.unmanaged import UnmanagedPlatform
from alexandria_backup.runbooks.switch import SwitchState

NAMES = ("kubernetes", "systemd", "unmanaged")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A platform that runs an application, and a look past it at whether it does."""

    platform: Platform
    runs: Callable[[], bool]


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(f"{request.param}_case")
    assert found.runs()
    return found


@pytest.fixture
def kubernetes_case(served: Served) -> Case:
    cluster = served.cluster
    cluster.workload("api", replicas=2)
    for _ in range(3):
        cluster.round()
    platform = KubernetesPlatform(
        cluster=Cluster(place=ClusterPlace(kubeconfig=served.kubeconfig)),
        workloads=("api",),
        selector="",
        stop_patience_s=30,
        start_patience_s=30,
    )
    return Case(platform=platform, runs=lambda: len(cluster.all("pods", {"app": "api"})) == 2)


@pytest.fixture
def systemd_case(request: pytest.FixtureRequest) -> Case:
    if not has_systemctl():
        pytest.skip("there is no `systemctl` to mask with")
    host: Host = request.getfixturevalue("host")
    platform = SystemdPlatform(
        systemctl=Systemctl(user=False, timeout_s=30),
        units=(),
        memories=Memories(folder=host.configured),
        start_patience_s=5,
    )
    return Case(platform=platform, runs=lambda: host.state("alexandria-api.service") == "active")


@pytest.fixture
def unmanaged_case(tmp_path: Path) -> Case:
    flag = tmp_path / "runs"
    flag.touch()
    quoted = shlex.quote(str(flag))
    platform = UnmanagedPlatform(
        stop_command=("/bin/sh", "-c", f"rm -f {quoted}"),
        start_command=("/bin/sh", "-c", f"touch {quoted}"),
    )
    return Case(platform=platform, runs=flag.exists)


def test_it_has_a_name_of_its_own_and_really_stops(
    case: Case, request: pytest.FixtureRequest
) -> None:
    assert case.platform.name == request.node.callspec.params["case"]
    assert case.platform.managed


def test_looking_changes_nothing(case: Case) -> None:
    platform = case.platform
    platform.check()
    platform.advice()
    platform.explain_stop()
    platform.explain_start()
    platform.log_since(datetime.now(UTC))
    assert case.runs()


def test_a_stop_is_done_when_it_returns_and_a_start_too(case: Case) -> None:
    record = case.platform.stop()
    assert not case.runs()
    assert record.stopped
    assert record.platform == case.platform.name
    case.platform.confirm_stopped(record)
    case.platform.start(record)
    assert case.runs()


def test_each_may_be_called_twice_and_the_first_record_counts(case: Case) -> None:
    first = case.platform.stop()
    case.platform.stop()
    assert not case.runs()
    case.platform.start(first)
    case.platform.start(first)
    assert case.runs()


def test_another_process_starts_it_from_the_journal_alone(case: Case) -> None:
    state = SwitchState(run="restore-x", target="d", stopped=case.platform.stop())
    journalled = SwitchState.model_validate_json(state.model_dump_json()).stopped
    assert journalled == state.stopped
    assert journalled is not None
    case.platform.start(journalled)
    assert case.runs()


def test_a_stop_whose_record_was_lost_is_taken_back(case: Case) -> None:
    case.platform.stop()
    lost = StopRecord(platform=case.platform.name, was_running=None, stopped=True)
    case.platform.start(lost)
    assert case.runs()


def test_a_start_without_a_stop_leaves_it_as_it_is(case: Case) -> None:
    case.platform.start(StopRecord(platform=case.platform.name, was_running=None, stopped=True))
    assert case.runs()
