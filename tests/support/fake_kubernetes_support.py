"""A cluster in this process that keeps the semantics which this program relies on.

Objects have resource versions, and a write that names an old one is a conflict; a change of `spec`
raises the generation; `scale` is a subresource of its own; a controller makes and ends pods over
time, so that a pod is seen starting and terminating. Who may do what is a function that a test can
replace. The tests prove it faithful with the real `kubectl`.
"""

import base64
import copy
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

Object = dict[str, Any]
NAMESPACE = "llm"
TOKEN = "the-token-of-the-test"

#: group/version → plural → (kind, namespaced, verbs of subresources)
KINDS: dict[str, dict[str, str]] = {
    "v1": {"secrets": "Secret", "pods": "Pod", "namespaces": "Namespace"},
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "keda.sh/v1alpha1": {"scaledobjects": "ScaledObject"},
    "kustomize.toolkit.fluxcd.io/v1": {"kustomizations": "Kustomization"},
    "helm.toolkit.fluxcd.io/v2": {"helmreleases": "HelmRelease"},
}


class Conflict(Exception):
    """Somebody else has changed the object meanwhile."""


class Missing(Exception):
    """There is no such object."""


class Machine(Protocol):
    """What a pod really is; by default nothing, in the end-to-end test a process."""

    def start(self, pod: str) -> None: ...
    def stop(self, pod: str) -> None: ...
    def is_ready(self, pod: str) -> bool: ...
    def log(self, pod: str) -> str: ...


class NoMachine:
    def start(self, pod: str) -> None: ...
    def stop(self, pod: str) -> None: ...

    def is_ready(self, pod: str) -> bool:
        return True

    def log(self, pod: str) -> str:
        return "INFO serving\n"


@dataclass(kw_only=True)
class FakeCluster:
    """The store, and the controller that works on it."""

    machine: Machine = field(default_factory=NoMachine)
    #: How many rounds of the controller a pod takes to start, and to end.
    start_rounds: int = 1
    stop_rounds: int = 1
    #: The containers of each pod.
    containers: tuple[str, ...] = ("api",)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    #: (verb, resource with group, subresource, name) → whether it is allowed.
    allowed: Callable[[str, str, str, str], bool] = lambda *_: True
    #: Called in each round: somebody else who works in the cluster.
    actor: Callable[["FakeCluster"], None] = lambda _: None
    #: Called before each request with method and path; may return an answer to give instead.
    fault: Callable[[str, str], tuple[int, str, bytes, dict[str, str]] | None] = lambda *_: None
    #: Called after each request was carried out, before its answer is sent.
    carried_out: Callable[[str, str], None] = lambda *_: None
    #: What was asked for, as `GET /api/…`.
    asked: list[str] = field(default_factory=list)
    #: Kinds whose definition is not installed, by plural.
    absent: set[str] = field(default_factory=set)
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    history: list[tuple[int, str, str, Object]] = field(default_factory=list)
    changed: threading.Condition = field(
        default_factory=lambda: threading.Condition(threading.RLock())
    )
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(100))
    _names: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _age: dict[str, int] = field(default_factory=dict)

    # ── the store ────────────────────────────────────────────────────────────────────────────────

    def create(self, plural: str, name: str, body: Object, labels: Object | None = None) -> Object:
        version, kind = kind_of(plural)
        metadata = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{plural}-{name}",
            "generation": 1,
            "creationTimestamp": "2026-11-23T12:00:00Z",
            "labels": labels or {},
            "annotations": {},
        }
        made = {"apiVersion": version, "kind": kind, "metadata": metadata, **copy.deepcopy(body)}
        with self.changed:
            return self._keep(plural, made, "ADDED")

    def get(self, plural: str, name: str) -> Object:
        with self.changed:
            if (plural, name) not in self.objects or plural in self.absent:
                raise Missing(name)
            return copy.deepcopy(self.objects[plural, name])

    def all(self, plural: str, labels: dict[str, str] | None = None) -> list[Object]:
        with self.changed:
            if plural in self.absent:
                raise Missing(plural)
            return [
                copy.deepcopy(found)
                for (kind, _), found in sorted(self.objects.items())
                if kind == plural and (labels or {}).items() <= found["metadata"]["labels"].items()
            ]

    def patch(self, plural: str, name: str, change: Object, manager: str = "test") -> Object:
        """Merge a change in, as RFC 7386 has it."""
        with self.changed:
            old = self.get(plural, name)
            version = change.get("metadata", {}).get("resourceVersion")
            if version is not None and version != old["metadata"]["resourceVersion"]:
                raise Conflict(name)
            new = merged(old, change)
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            replicas = "replicas" in change.get("spec", {})
            if replicas and old["spec"].get("replicas") != new["spec"].get("replicas"):
                entry = {"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
                new["metadata"]["managedFields"] = [entry]
            return self._keep(plural, new, "MODIFIED")

    def scale(self, plural: str, name: str, replicas: int, manager: str = "test") -> None:
        self.patch(plural, name, {"spec": {"replicas": replicas}}, manager)

    def delete(self, plural: str, name: str) -> None:
        with self.changed:
            gone = self.objects.pop((plural, name))
            self._note(plural, "DELETED", gone)

    def _keep(self, plural: str, kept: Object, happened: str) -> Object:
        kept["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[plural, kept["metadata"]["name"]] = kept
        self._note(plural, happened, kept)
        return copy.deepcopy(kept)

    def _note(self, plural: str, happened: str, what: Object) -> None:
        version = int(what["metadata"]["resourceVersion"])
        self.history.append((version, happened, plural, copy.deepcopy(what)))
        self.changed.notify_all()

    # ── what tests fill it with ──────────────────────────────────────────────────────────────────

    def secret(self, name: str, **data: bytes) -> None:
        encoded = {
            key.replace("_", "-"): base64.b64encode(value).decode() for key, value in data.items()
        }
        self.create("secrets", name, {"type": "Opaque", "data": encoded})

    def workload(
        self,
        name: str,
        replicas: int = 2,
        plural: str = "deployments",
        labels: Object | None = None,
    ) -> None:
        labels = {"app.kubernetes.io/instance": "alexandria-ee"} if labels is None else labels
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}},
        }
        if plural == "statefulsets":
            spec["updateStrategy"] = {"type": "RollingUpdate"}
        self.create(plural, name, {"spec": spec, "status": {}}, labels)

    # ── the controller ───────────────────────────────────────────────────────────────────────────

    @contextmanager
    def working(self, every_s: float = 0.02) -> Iterator[None]:
        """Let the controller work in a thread of its own."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(every_s):
                self.round()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def round(self) -> None:
        """Do what controllers and kubelets do, one step of it."""
        self.actor(self)
        for plural in ("deployments", "statefulsets"):
            for workload in self.all(plural):
                self._reconcile(plural, workload)

    def _reconcile(self, plural: str, workload: Object) -> None:
        name = workload["metadata"]["name"]
        labels = workload["spec"]["selector"]["matchLabels"]
        pods = self._active(labels)
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        wanted = workload["spec"]["replicas"]
        for _ in range(wanted - len(alive)):
            self._make_pod(f"{name}-{next(self._names)}", labels)
        for pod in alive[wanted:]:
            change = {"metadata": {"deletionTimestamp": "2026-11-23T12:00:01Z"}}
            self.patch("pods", pod["metadata"]["name"], change)
            self._age[pod["metadata"]["name"]] = 0
        for pod in self._active(labels):
            self._age_pod(pod)
        self._report(plural, name, labels)

    def _active(self, labels: Object) -> list[Object]:
        """Those whose processes have not all ended; others lie there until somebody sweeps."""
        over = {"Succeeded", "Failed"}
        return [p for p in self.all("pods", labels) if p["status"]["phase"] not in over]

    def _make_pod(self, pod: str, labels: Object) -> None:
        self._age[pod] = 0
        status = {"phase": "Pending", "conditions": [], "containerStatuses": []}
        spec = {"containers": [{"name": name} for name in self.containers]}
        self.create("pods", pod, {"spec": spec, "status": status}, labels)
        self.machine.start(pod)

    def _age_pod(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        self._age[name] = self._age.get(name, 0) + 1
        if "deletionTimestamp" in pod["metadata"]:
            if self._age[name] >= self.stop_rounds:
                self.machine.stop(name)
                self.delete("pods", name)
            return
        ready = self._age[name] >= self.start_rounds and self.machine.is_ready(name)
        told = [{"type": "Ready", "status": "True" if ready else "False"}]
        if pod["status"]["conditions"] != told:
            self.patch("pods", name, {"status": {"phase": "Running", "conditions": told}})

    def _report(self, plural: str, name: str, labels: Object) -> None:
        workload = self.get(plural, name)
        pods = [p for p in self._active(labels) if "deletionTimestamp" not in p["metadata"]]
        ready = sum({"type": "Ready", "status": "True"} in p["status"]["conditions"] for p in pods)
        status = {
            "observedGeneration": workload["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentRevision": "one",
            "updateRevision": "one",
            "conditions": [],
        }
        if workload["status"] != status:
            self.patch(plural, name, {"status": status})


def kind_of(plural: str) -> tuple[str, str]:
    return next((version, kinds[plural]) for version, kinds in KINDS.items() if plural in kinds)


def merged(old: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
