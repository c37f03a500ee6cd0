"""The whole paper runbook on a cluster whose pods are the demo application."""

import base64
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from deployed_support import (
    DemoMachine,
    Deployed,
    eventually,
    killed_at,
    stubborn_writer,
)
from fake_kubernetes_api_support import Served, serving
from fake_kubernetes_support import TOKEN, FakeCluster

from alexandria_backup.demo.folder import ApplicationFolder
from alexandria_backup.platforms.kubernetes.workload import SAVED
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.secret import Secret

API = "alexandria-api"
#: How many calls a restore makes of the cluster, at the least; the campaign kills at each.
_CALLS = 40


@pytest.fixture
def cluster(folder: ApplicationFolder) -> FakeCluster:
    return FakeCluster(machine=DemoMachine(application=folder))


@pytest.fixture
def served(cluster: FakeCluster, tmp_path: Path, certificate: Path) -> Iterator[Served]:
    cluster.secret("alexandria-ee")
    with serving(cluster, tmp_path, certificate) as found:
        yield found


@pytest.fixture
def deployed(
    served: Served, folder: ApplicationFolder, tmp_path: Path, server18: EmbeddedServer
) -> Iterator[Deployed]:
    """The application runs in one pod, and there is a snapshot; then a table was emptied."""
    dsn = folder.dsn_file.read_text()
    deployed = Deployed(
        folder=tmp_path,
        server=server18,
        database=Dsn.parse(Secret(dsn)).database,
        application=folder,
        environ={"KUBECONFIG": str(served.kubeconfig)},
    )
    served.cluster.delete("secrets", "alexandria-ee")
    served.cluster.secret("alexandria-ee", database_dsn=dsn.encode())
    served.cluster.workload(API, replicas=1)
    eventually(deployed.is_up)
    deployed.settle(f'application.url = "{folder.url()}"\napplication.ready_timeout_s = 60\n')
    deployed.snapshot_and_damage()
    yield deployed
    served.cluster.scale("deployments", API, 0)
    deployed.clear()


def is_back(deployed: Deployed, cluster: FakeCluster) -> None:
    """The application runs as before, and nothing of ours is left on it."""
    found = cluster.get("deployments", API)
    assert found["spec"]["replicas"] == 1
    assert SAVED not in found["metadata"]["annotations"]
    eventually(deployed.is_up)


def test_a_restore_is_the_whole_runbook(deployed: Deployed, cluster: FakeCluster) -> None:
    with stubborn_writer(deployed) as acknowledged:
        restored = deployed.run("restore", deployed.snapshot, "--yes")
    assert restored.returncode in {0, 3}, restored.stderr
    assert deployed.tools() > 0
    is_back(deployed, cluster)
    assert scales(cluster) == [1, 0, 1]
    assert acknowledged <= deployed.attempts()
    assert len(acknowledged) > 10
    rolled_back = deployed.run("rollback", "--yes")
    assert rolled_back.returncode in {0, 3}, rolled_back.stderr
    assert deployed.tools() == 0
    is_back(deployed, cluster)
    assert acknowledged <= deployed.attempts()


#: True of the snapshot's data, and of the damaged ones not.
CHECK = {"ALEXANDRIA_APPLICATION__CHECKS": "SELECT EXISTS (SELECT FROM public.tools)"}
DOUBT = f"with the application running, `{CHECK['ALEXANDRIA_APPLICATION__CHECKS']}` did not"


def test_a_rollback_asks_the_checks_once_the_application_runs(
    deployed: Deployed, cluster: FakeCluster
) -> None:
    deployed.environ.update(CHECK)
    restored = deployed.run("restore", deployed.snapshot, "--yes")
    assert restored.returncode in {0, 3}, restored.stderr
    assert DOUBT not in restored.stderr
    back = deployed.run("rollback", "--yes")
    assert (back.returncode, DOUBT in back.stderr) == (3, True), back.stderr
    is_back(deployed, cluster)
    forward = deployed.run("rollback", "--yes")
    assert forward.returncode in {0, 3}, forward.stderr
    assert DOUBT not in forward.stderr
    killed_at(deployed, 14, "after", runbook="rollback")
    run = deployed.waiting_run("rollback")
    assert run is not None
    resumed = deployed.run("run", "resume", run, "--yes")
    assert (resumed.returncode, DOUBT in resumed.stderr) == (3, True), resumed.stderr
    is_back(deployed, cluster)


def test_an_abort_asks_the_checks_once_the_application_runs(
    deployed: Deployed, cluster: FakeCluster
) -> None:
    deployed.environ.update(CHECK)
    killed_at(deployed, 15, "after")
    assert not deployed.is_up()
    run = deployed.waiting_run()
    assert run is not None
    aborted = deployed.run("run", "abort", run)
    assert (aborted.returncode, DOUBT in aborted.stderr) == (3, True), aborted.stderr
    assert deployed.tools() == 0
    is_back(deployed, cluster)


def scales(cluster: FakeCluster) -> list[int]:
    """The numbers of instances that were wanted, one after the other."""
    wanted = [
        what["spec"]["replicas"]
        for _, _, plural, what in cluster.history
        if plural == "deployments"
    ]
    return [n for n, before in zip(wanted, [None, *wanted], strict=False) if n != before]


def test_what_wants_a_look_is_said(deployed: Deployed, cluster: FakeCluster) -> None:
    labels = {"helm.toolkit.fluxcd.io/name": "alexandria"}
    cluster.patch("deployments", API, {"metadata": {"labels": labels}})

    def doubt(pod: str) -> str:
        return "INFO serving\nWARNING audit integrity: sequence gap at 812\n"

    with patch.object(DemoMachine, "log", lambda _, pod: doubt(pod)):
        restored = deployed.run("restore", deployed.snapshot, "--yes")
    assert restored.returncode == 3, restored.stderr
    assert "flux suspend helmrelease alexandria --namespace llm" in restored.stderr
    assert "the application's log doubts the audit chain, in 1 of its lines" in restored.stderr
    assert "sequence gap at 812" in restored.stderr


def test_no_secret_is_shown_or_kept(deployed: Deployed, cluster: FakeCluster) -> None:
    dsn = deployed.application.dsn_file.read_text().strip()
    secret = dsn + " password=swordfish" if "://" not in dsn else with_password(dsn)
    encoded = base64.b64encode(secret.encode()).decode()
    cluster.patch("secrets", "alexandria-ee", {"data": {"database-dsn": encoded}})
    ended = [
        deployed.run("doctor"),
        deployed.run("restore", deployed.snapshot, "--plan", "--json"),
        deployed.run("restore", deployed.snapshot, "--yes", "--json"),
    ]
    texts = [text for e in ended for text in (e.stdout, e.stderr)]
    folders = [deployed.folder / name for name in ("state", "snapshots")]
    kept = [p.read_bytes() for f in folders for p in f.rglob("*.json")]
    assert len(kept) > 20
    for hidden in ("swordfish", encoded, TOKEN):
        assert not [text for text in texts if hidden in text]
        assert not [data for data in kept if hidden.encode() in data]


def with_password(dsn: str) -> str:
    scheme, rest = dsn.split("://", 1)
    user, host = rest.split("@", 1)
    return f"{scheme}://{user}:swordfish@{host}"


def test_doctor_asks_the_cluster_for_each_right(deployed: Deployed, cluster: FakeCluster) -> None:
    good = deployed.run("doctor")
    assert "from the Kubernetes Secret `alexandria-ee`, key `database-dsn`" in good.stdout
    assert "can be stopped and started; `/ready` answers 200" in good.stdout
    cluster.allowed = lambda verb, *_: verb != "patch"
    bad = deployed.run("doctor")
    assert bad.returncode == 12
    assert "lacks rights for a stop and a start: `patch` `deployment/alexandria-api`" in bad.stdout
    assert "kubectl create role alexandria-patch-deployments" in bad.stdout
    refused = deployed.run("restore", deployed.snapshot, "--yes")
    assert refused.returncode == 43
    assert scales(cluster) == [1]


def test_whoever_scales_up_during_the_load_stops_the_restore_and_nothing_changed(
    deployed: Deployed, cluster: FakeCluster
) -> None:
    def actor(cluster: FakeCluster) -> None:
        # Not at once: the stop must have been seen as done.
        gone = not cluster.all("pods", {"app": API})
        if gone and cluster.get("deployments", API)["spec"]["replicas"] == 0:
            waited.append(1)
            if len(waited) > 25:
                cluster.scale("deployments", API, 1, manager="keda-operator")

    waited: list[int] = []
    cluster.actor = actor
    refused = deployed.run("restore", deployed.snapshot, "--yes", "--stop-first")
    cluster.actor = lambda _: None
    assert refused.returncode == 40, refused.stderr
    assert "`keda-operator` has scaled `deployment/alexandria-api` to 1" in refused.stderr
    assert deployed.tools() == 0
    assert deployed.databases() == [deployed.database]
    is_back(deployed, cluster)


def test_a_run_goes_on_only_where_the_settings_name_what_it_has_stopped(
    deployed: Deployed, cluster: FakeCluster
) -> None:
    killed_at(deployed, 15, "after")
    run = deployed.waiting_run()
    assert run is not None
    with patch.dict(deployed.environ, {"ALEXANDRIA_APPLICATION__PLATFORM": "unmanaged"}):
        refused = deployed.run("run", "abort", run)
    assert refused.returncode != 0
    assert "was stopped on `kubernetes`, and the settings say that `unmanaged`" in refused.stderr
    assert not deployed.is_up()
    ends_well(deployed, cluster, "abort")


def kill_at(
    cluster: FakeCluster,
    deployed: Deployed,
    wanted: Callable[[int, str, str], bool],
    *,
    after: bool,
) -> bool:
    """Restore in a process of its own and kill it by SIGKILL at one call of the cluster.

    `after`: once the call was carried out, and before it is answered. Returns whether it died.
    """
    calls: list[str] = []
    process = deployed.process("restore", deployed.snapshot, "--yes")

    def hook(method: str, path: str) -> None:
        calls.append(path)
        if wanted(len(calls), method, path):
            os.kill(process.pid, signal.SIGKILL)

    if after:
        cluster.carried_out = hook
    else:
        cluster.fault = hook
    _, said = process.communicate(timeout=120)
    cluster.carried_out = cluster.fault = lambda *_: None
    assert process.returncode in {0, 3, -signal.SIGKILL}, said
    return process.returncode == -signal.SIGKILL


def ends_well(deployed: Deployed, cluster: FakeCluster, ending: str) -> None:
    """Resume or abort what was killed; the application runs, on one whole database."""
    restored = deployed.end(ending)
    is_back(deployed, cluster)
    assert (deployed.tools() > 0) == restored


@pytest.mark.parametrize(("after", "ending"), [(False, "resume"), (True, "abort")])
def test_a_kill_at_the_scaling_is_resumed_or_undone(
    deployed: Deployed, cluster: FakeCluster, after: bool, ending: str
) -> None:
    died = kill_at(cluster, deployed, lambda _, method, __: method == "PATCH", after=after)
    assert died
    ends_well(deployed, cluster, ending)


@pytest.mark.campaign
@pytest.mark.parametrize("ending", ["resume", "abort"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, _CALLS + 1))
def test_a_kill_at_any_call_is_resumed_or_undone(
    deployed: Deployed, cluster: FakeCluster, number: int, after: bool, ending: str
) -> None:
    died = kill_at(cluster, deployed, lambda n, *_: n == number, after=after)
    if died and deployed.waiting_run() is None:
        # It died before there was a run to speak of.
        is_back(deployed, cluster)
        assert deployed.tools() == 0
        return
    ends_well(deployed, cluster, ending if died else "resume")


@pytest.mark.parametrize(
    ("seq", "moment", "ending"),
    [
        (15, "before", "resume"),
        *[
            pytest.param(seq, moment, ending, marks=pytest.mark.campaign)
            for seq in range(2, 25)
            for moment in ("before", "after")
            for ending in ("resume", "abort")
            if (seq, moment, ending) != (15, "before", "resume")
        ],
    ],
)
def test_a_kill_at_any_line_of_the_journal_is_resumed_or_undone(
    deployed: Deployed, cluster: FakeCluster, seq: int, moment: str, ending: str
) -> None:
    """At 15 it is stopped, at 23 started again, and the journal does not know it yet."""
    killed_at(deployed, seq, moment)
    ends_well(deployed, cluster, ending)
