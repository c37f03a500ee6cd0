import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_kubernetes_api_support import Served
from fake_kubernetes_support import FakeCluster, NoMachine

from alexandria_backup.cluster.access import ClusterPlace
from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.errors import (
    ApplicationNotReady,
    ClusterDenied,
    ClusterUnreachable,
    PlatformRefused,
    SettingsInvalid,
)
from alexandria_backup.platforms.kubernetes.platform import KubernetesPlatform
from alexandria_backup.platforms.kubernetes.workload import SAVED
from alexandria_backup.platforms.platform import StoppedUnit, StopRecord

API = "deployment/alexandria-api"
WORKER = "statefulset/alexandria-worker"
#: What a start is told where the stop was killed before it could tell anything.
NOTHING_KNOWN = StopRecord(platform="kubernetes", was_running=None, stopped=True)


@pytest.fixture
def cluster(served: Served) -> FakeCluster:
    cluster = served.cluster
    cluster.workload("alexandria-api", replicas=3)
    cluster.workload("alexandria-worker", replicas=1, plural="statefulsets")
    cluster.workload("somebody-elses", replicas=1, labels={})
    settle(cluster)
    return cluster


@pytest.fixture
def platform(served: Served, cluster: FakeCluster) -> KubernetesPlatform:
    return KubernetesPlatform(
        cluster=Cluster(place=ClusterPlace(kubeconfig=served.kubeconfig), patience_s=0),
        workloads=(),
        selector="app.kubernetes.io/instance=alexandria-ee",
        stop_patience_s=20,
        start_patience_s=20,
    )


def settle(cluster: FakeCluster) -> None:
    for _ in range(4):
        cluster.round()


def replicas(cluster: FakeCluster, name: str = "alexandria-api") -> int:
    plural = "statefulsets" if name == "alexandria-worker" else "deployments"
    found: int = cluster.get(plural, name)["spec"]["replicas"]
    return found


def annotations(cluster: FakeCluster) -> dict[str, str]:
    found: dict[str, str] = cluster.get("deployments", "alexandria-api")["metadata"]["annotations"]
    return found


def pods(cluster: FakeCluster, name: str = "alexandria-api") -> int:
    return len(cluster.all("pods", {"app": name}))


def test_a_stop_waits_until_terminating_pods_are_gone_and_a_start_brings_back_as_many(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    cluster.stop_rounds = 8
    record = platform.stop()
    assert pods(cluster) == pods(cluster, "alexandria-worker") == 0
    assert record.stopped
    assert record.was_running
    assert set(record.units) == {
        StoppedUnit(name=API, instances=3),
        StoppedUnit(name=WORKER, instances=1),
    }
    assert replicas(cluster, "somebody-elses") == pods(cluster, "somebody-elses") == 1
    platform.start(record)
    assert replicas(cluster) == pods(cluster) == 3
    assert replicas(cluster, "alexandria-worker") == 1
    assert annotations(cluster) == {}


def test_both_may_be_called_twice(platform: KubernetesPlatform, cluster: FakeCluster) -> None:
    first, second = platform.stop(), platform.stop()
    assert first == second
    platform.start(first)
    platform.start(first)
    assert replicas(cluster) == 3


def test_the_number_is_written_down_in_the_change_that_scales(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    platform.stop()
    stops = [
        what
        for _, _, plural, what in cluster.history
        if plural == "deployments" and what["spec"]["replicas"] == 0
    ]
    assert {what["metadata"]["annotations"].get(SAVED) for what in stops} == {"3"}


def test_a_killed_stop_is_taken_back_without_its_record(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    platform.stop()
    platform.start(NOTHING_KNOWN)
    assert replicas(cluster) == 3
    platform.start(NOTHING_KNOWN)
    assert replicas(cluster) == 3


def test_what_did_not_run_is_not_started(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    cluster.scale("deployments", "alexandria-api", 0)
    record = platform.stop()
    assert StoppedUnit(name=API, instances=0) in record.units
    platform.start(record)
    assert replicas(cluster) == 0
    assert replicas(cluster, "alexandria-worker") == 1


def test_what_somebody_else_has_started_is_left_so(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    record = platform.stop()
    change = {"metadata": {"annotations": {SAVED: None}}, "spec": {"replicas": 2}}
    cluster.patch("deployments", "alexandria-api", change)
    platform.start(record)
    assert replicas(cluster) == 2


def test_named_workloads_are_the_only_ones(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    for name in ("alexandria-api", "deploy/alexandria-api", "deployments/alexandria-api"):
        record = replace(platform, workloads=(name,)).stop()
        assert record.units == (StoppedUnit(name=API, instances=3),)
    assert replicas(cluster, "alexandria-worker") == 1
    with pytest.raises(SettingsInvalid, match="not a Deployment or StatefulSet"):
        replace(platform, workloads=("daemonset/x",)).stop()


def test_no_workload_at_all_is_a_refusal(platform: KubernetesPlatform) -> None:
    with pytest.raises(PlatformRefused, match="has no Deployment or StatefulSet with the label"):
        replace(platform, selector="app.kubernetes.io/instance=other").check()


def test_a_change_of_somebody_else_in_between_is_not_lost(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    patched = threading.Event()

    def meddle(method: str, path: str) -> None:
        if method == "PATCH" and not patched.is_set():
            patched.set()
            cluster.scale("deployments", "alexandria-api", 5)

    cluster.fault = meddle
    record = platform.stop()
    assert StoppedUnit(name=API, instances=5) in record.units
    assert patched.is_set()


def actor(count: int, after: Callable[[FakeCluster], bool]) -> Callable[[FakeCluster], None]:
    """Scale up as a controller does that knows better."""

    def act(cluster: FakeCluster) -> None:
        if replicas(cluster) == 0 and after(cluster):
            cluster.scale("deployments", "alexandria-api", count, manager="kustomize-controller")

    return act


def test_whoever_scales_up_during_the_stop_is_named(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    cluster.stop_rounds = 10
    cluster.actor = actor(1, lambda _: True)
    with pytest.raises(PlatformRefused) as caught:
        platform.stop()
    assert str(caught.value) == (
        "`kustomize-controller` has scaled `deployment/alexandria-api` to 1 while it is to be "
        "stopped"
    )
    cluster.actor = lambda _: None
    platform.start(NOTHING_KNOWN)
    assert replicas(cluster) == 3


def test_whoever_scales_up_after_the_stop_is_noticed(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    record = platform.stop()
    platform.confirm_stopped(record)
    cluster.scale("deployments", "alexandria-api", 2, manager="argocd-controller")
    with pytest.raises(PlatformRefused, match="`argocd-controller` has scaled"):
        platform.confirm_stopped(record)
    platform.start(record)
    assert replicas(cluster) == 3


def test_pods_that_do_not_go_are_named(platform: KubernetesPlatform, cluster: FakeCluster) -> None:
    cluster.stop_rounds = 100_000
    with pytest.raises(PlatformRefused, match=r"are not gone after 0\.3 s, such as `.*terminating"):
        replace(platform, stop_patience_s=0.3).stop()


def test_pods_that_ended_long_ago_are_not_waited_for(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    cluster.create("pods", "evicted", {"status": {"phase": "Failed"}}, {"app": "alexandria-api"})
    replace(platform, stop_patience_s=5).stop()
    assert pods(cluster) == 1


class Unready(NoMachine):
    def is_ready(self, pod: str) -> bool:
        return False


def test_pods_that_do_not_get_ready_are_named(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    record = platform.stop()
    cluster.machine = Unready()
    with pytest.raises(ApplicationNotReady, match=r"0 of 3 pods of `.*` are ready") as caught:
        replace(platform, start_patience_s=0.4).start(record)
    assert (caught.value.hint or "").startswith("kubectl describe pod alexandria-api-")


def test_a_start_waits_for_as_many_as_ran_before(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    record = platform.stop()
    cluster.start_rounds = 5
    platform.start(record)
    status = cluster.get("deployments", "alexandria-api")["status"]
    assert status["readyReplicas"] == 3


# ── what stands between us and the cluster ───────────────────────────────────────────────────────

_HTML = b"<!DOCTYPE html><title>Bad gateway</title>"
Answer = tuple[int, str, bytes, dict[str, str]]
#: What a wait may be answered instead; None is a connection that is closed without an answer.
DISTURBANCES: dict[str, Answer | None] = {
    "a page": (200, "text/html", _HTML, {}),
    "a page that is not found": (404, "text/html", _HTML, {}),
    "a page of a gateway": (502, "text/html", _HTML, {}),
    "a redirect": (302, "text/plain", b"", {"Location": "https://login.example"}),
    "too many requests": (429, "application/json", b"{}", {}),
    "a cut": None,
}
#: What a proxy says that has never heard of a cluster; of an empty list it must be told apart.
NO_LISTS: dict[str, Answer | None] = {
    "not found": (404, "text/plain", b"404 page not found", {}),
    "other JSON": (200, "application/json", b"{}", {}),
}


@dataclass
class Disturbance:
    """Gives another answer to questions for a path, a few times, once both have been scaled."""

    answer: Answer | None
    path: str
    times: int
    patches: int = 0

    def __call__(self, method: str, path: str) -> Answer | None:
        self.patches += method == "PATCH"
        if self.patches < 2 or method == "PATCH" or self.path not in path or not self.times:
            return None
        self.times -= 1
        if self.answer is None:
            raise ConnectionResetError
        return self.answer


@pytest.mark.parametrize("kind", [*DISTURBANCES, *NO_LISTS])
def test_a_stop_goes_on_waiting_whatever_stands_between(
    platform: KubernetesPlatform, cluster: FakeCluster, kind: str
) -> None:
    cluster.stop_rounds = 8
    cluster.fault = disturbance = Disturbance((DISTURBANCES | NO_LISTS)[kind], "/pods", times=3)
    record = platform.stop()
    assert disturbance.times == 0
    assert pods(cluster) == pods(cluster, "alexandria-worker") == 0
    assert StoppedUnit(name=API, instances=3) in record.units


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_a_start_goes_on_waiting_whatever_stands_between(
    platform: KubernetesPlatform, cluster: FakeCluster, kind: str
) -> None:
    record = platform.stop()
    cluster.start_rounds = 4
    cluster.fault = disturbance = Disturbance(DISTURBANCES[kind], "/deployments/", times=3)
    platform.start(record)
    assert disturbance.times == 0
    assert cluster.get("deployments", "alexandria-api")["status"]["readyReplicas"] == 3


@pytest.mark.parametrize("kind", [*DISTURBANCES, *NO_LISTS])
def test_what_is_no_answer_of_the_cluster_is_never_an_end_of_the_pods(
    platform: KubernetesPlatform, cluster: FakeCluster, kind: str
) -> None:
    cluster.fault = Disturbance((DISTURBANCES | NO_LISTS)[kind], "/pods", times=10_000)
    with pytest.raises(ClusterUnreachable):
        replace(platform, stop_patience_s=0.5).stop()


# ── rights ───────────────────────────────────────────────────────────────────────────────────────


def test_rights_are_asked_for_and_nothing_is_changed(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    settle(cluster)
    before = [what for what in cluster.asked if not what.startswith("GET")]
    platform.check()
    changes = [what for what in cluster.asked if not what.startswith("GET")]
    assert {what.rpartition("/")[2] for what in changes} == {"selfsubjectaccessreviews"}
    assert before == []


@pytest.mark.parametrize(
    ("verb", "resource", "sub"),
    [
        ("patch", "deployments.apps", ""),
        ("patch", "statefulsets.apps", ""),
        ("list", "pods", ""),
        ("get", "pods", "log"),
    ],
)
def test_a_lacking_right_is_named_with_its_rule(
    platform: KubernetesPlatform, cluster: FakeCluster, verb: str, resource: str, sub: str
) -> None:
    cluster.allowed = lambda v, r, s, _: (v, r, s) != (verb, resource, sub)
    with pytest.raises(ClusterDenied, match=f"lacks rights .*`{verb}`") as caught:
        platform.check()
    asked = resource + (f"/{sub}" if sub else "")
    assert f"--verb={verb} --resource={asked}" in (caught.value.hint or "")


# ── KEDA, Flux, Argo CD ──────────────────────────────────────────────────────────────────────────


def scaled_object(cluster: FakeCluster, name: str, target: str, **annotations: str) -> None:
    cluster.create("scaledobjects", name, {"spec": {"scaleTargetRef": {"name": target}}})
    named = {f"autoscaling.keda.sh/{key}": value for key, value in annotations.items()}
    cluster.patch("scaledobjects", name, {"metadata": {"annotations": named}})


def paused(cluster: FakeCluster, name: str) -> str | None:
    found = cluster.get("scaledobjects", name)["metadata"]["annotations"]
    value: str | None = found.get("autoscaling.keda.sh/paused")
    return value


def test_keda_is_paused_and_goes_on(platform: KubernetesPlatform, cluster: FakeCluster) -> None:
    scaled_object(cluster, "api", "alexandria-api")
    scaled_object(cluster, "other", "somebody-elses")

    def keda(cluster: FakeCluster) -> None:
        if paused(cluster, "api") is None and replicas(cluster) == 0:
            cluster.scale("deployments", "alexandria-api", 1, manager="keda-operator")

    cluster.actor = keda
    record = platform.stop()
    settle(cluster)
    platform.confirm_stopped(record)
    assert (paused(cluster, "api"), paused(cluster, "other")) == ("true", None)
    platform.start(record)
    assert paused(cluster, "api") is None
    assert replicas(cluster) == 3


def test_without_keda_no_right_to_its_objects_is_needed(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    """A real API refuses to list a kind that it does not know, too, where no rule allows it."""
    cluster.absent.add("scaledobjects")
    cluster.allowed = lambda _, resource, *__: "keda" not in resource
    platform.check()
    platform.start(platform.stop())
    assert replicas(cluster) == 3


def test_with_keda_a_right_to_its_objects_is_asked_for(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    scaled_object(cluster, "api", "alexandria-api")
    cluster.allowed = lambda verb, resource, *_: (verb, "keda" in resource) != ("patch", True)
    with pytest.raises(ClusterDenied, match="`patch` `scaledobject/api`"):
        platform.check()


def test_keda_that_was_paused_before_stays_so(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    scaled_object(cluster, "api", "alexandria-api", paused="true")
    platform.start(platform.stop())
    assert paused(cluster, "api") == "true"


def test_a_horizontal_autoscaler_rests_while_the_scale_is_0(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    def autoscaler(cluster: FakeCluster) -> None:
        if 0 < replicas(cluster) < 4:
            cluster.scale("deployments", "alexandria-api", 4, manager="kube-controller-manager")

    record = platform.stop()
    cluster.actor = autoscaler
    settle(cluster)
    platform.confirm_stopped(record)
    platform.start(record)
    settle(cluster)
    assert replicas(cluster) == 4


def test_flux_is_named_with_the_command_unless_it_is_suspended(
    platform: KubernetesPlatform, cluster: FakeCluster
) -> None:
    assert platform.advice() == ()
    labels = {
        "kustomize.toolkit.fluxcd.io/name": "alexandria",
        "kustomize.toolkit.fluxcd.io/namespace": "llm",
    }
    cluster.patch("deployments", "alexandria-api", {"metadata": {"labels": labels}})
    (advice,) = platform.advice()
    assert advice.command == "flux suspend kustomization alexandria --namespace llm"
    cluster.create("kustomizations", "alexandria", {"spec": {"suspend": True}})
    assert platform.advice() == ()
    cluster.allowed = lambda _, resource, *__: "kustomize" not in resource
    assert len(platform.advice()) == 1


def test_argo_is_named_with_the_command(platform: KubernetesPlatform, cluster: FakeCluster) -> None:
    tracked = {"argocd.argoproj.io/tracking-id": "llm-prod:apps/Deployment:llm/alexandria-api"}
    cluster.patch("deployments", "alexandria-api", {"metadata": {"annotations": tracked}})
    assert [item.command for item in platform.advice()] == [
        "argocd app set llm-prod --sync-policy none"
    ]


def test_the_log_of_all_pods_is_read(platform: KubernetesPlatform) -> None:
    said = platform.log_since(datetime.now(UTC) - timedelta(seconds=5))
    assert (said or "").count("INFO serving") == 4


def test_the_log_of_each_container_is_read(served: Served, platform: KubernetesPlatform) -> None:
    """A pod with a sidecar has no log of its own: the API asks for the container."""
    served.cluster.containers = ("api", "mesh")
    platform.start(platform.stop())
    said = platform.log_since(datetime.now(UTC) - timedelta(seconds=5))
    assert (said or "").count("INFO serving") == 8


def test_a_plan_names_the_command(platform: KubernetesPlatform, tmp_path: Path) -> None:
    assert platform.explain_stop().endswith(
        "`kubectl scale deployment,statefulset "
        "--selector=app.kubernetes.io/instance=alexandria-ee --replicas=0`"
    )
    named = replace(
        platform,
        workloads=(API,),
        cluster=Cluster(place=ClusterPlace(namespace="llm", kubeconfig=tmp_path / "none")),
    )
    assert f"`kubectl scale {API} --replicas=N --namespace llm`" in named.explain_start()
