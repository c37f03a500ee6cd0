"""Stop and start on Kubernetes: scale to 0, wait until the pods are gone, and back again.

How many instances ran is written on the object in the very change that scales it to 0, so there is
no moment at which it is stopped and the number is not known, whoever dies when.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.cluster.kinds import PODS, WORKLOADS, Kind, Wanted
from alexandria_backup.cluster.rights import rule_for
from alexandria_backup.errors import (
    ApplicationNotReady,
    ClusterDenied,
    PlatformRefused,
)
from alexandria_backup.platforms.kubernetes import autoscaling, ownership
from alexandria_backup.platforms.kubernetes.pods import Pod, pods_of
from alexandria_backup.platforms.kubernetes.scaling import hold, release
from alexandria_backup.platforms.kubernetes.waiting import wait
from alexandria_backup.platforms.kubernetes.workload import (
    Workload,
    parse_name,
    read_workload,
)
from alexandria_backup.platforms.platform import Advice, StopRecord

#: How much of each pod's log is read after a start.
_LOG_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class KubernetesPlatform:
    """A `Platform` whose units are Deployments and StatefulSets."""

    cluster: Cluster
    #: Such as `deployment/alexandria-api`; empty: all that have the label below.
    workloads: tuple[str, ...]
    #: Finds the workloads where none are named.
    selector: str
    stop_patience_s: float
    start_patience_s: float

    @property
    def name(self) -> str:
        """Return `kubernetes`."""
        return "kubernetes"

    @property
    def managed(self) -> bool:
        """Return true: pods are really ended."""
        return True

    def explain_stop(self) -> str:
        """Return what `stop` will do."""
        return f"scale to 0 and wait until no pod is left: `{self._scale('0')}`"

    def explain_start(self) -> str:
        """Return what `start` will do."""
        return f"scale to as many as before and wait until they are ready: `{self._scale('N')}`"

    def check(self) -> None:
        """Ask for every right that a stop and a start need; raises ClusterDenied for the lacking.

        Nothing is changed.
        """
        workloads = self._found()
        lacking = [item for item in self._needed(workloads) if not self.cluster.allows(item)]
        if lacking:
            named = ", ".join(f"`{item.verb}` {item}" for item in lacking)
            raise ClusterDenied(
                f"our account lacks rights for a stop and a start: {named}",
                hint=rule_for(lacking[0]),
            )

    def advice(self) -> tuple[Advice, ...]:
        """Name whoever may scale the application up behind our back."""
        return ownership.advice(self.cluster, self._found())

    def stop(self) -> StopRecord:
        """Pause what scales, scale to 0, wait until the last pod is gone.

        Raises PlatformRefused where pods stay, or somebody scales up again.
        """
        workloads = self._found()
        autoscaling.pause(self.cluster, workloads)
        units = tuple(hold(self.cluster, w.kind, w.name) for w in workloads)
        self._wait_until_gone(workloads)
        return StopRecord(
            platform=self.name,
            was_running=any(unit.instances for unit in units),
            stopped=True,
            units=units,
        )

    def confirm_stopped(self, record: StopRecord) -> None:
        """Raise PlatformRefused where pods run, or are about to, that we have stopped."""
        for kind, name in self._names(record):
            self._refuse_scaled(read_workload(kind, self.cluster.get(kind, name)))

    def start(self, record: StopRecord) -> None:
        """Scale to as many as before, let autoscaling go on, wait until the pods are ready.

        Raises ApplicationNotReady where they do not get ready in time.
        """
        instances = {unit.name: unit.instances for unit in record.units}
        names = self._names(record)
        started = [release(self.cluster, kind, name, instances) for kind, name in names]
        autoscaling.resume(self.cluster, started)
        for workload in started:
            if workload.replicas:
                self._wait_until_ready(workload.kind, workload.name)

    def log_since(self, began: datetime) -> str | None:
        """Return what all pods have said since then."""
        seconds = int((datetime.now(UTC) - began).total_seconds()) + 1
        return "\n".join(
            self.cluster.log(pod.name, container, seconds=seconds, limit_bytes=_LOG_BYTES)
            for workload in self._found()
            for pod in pods_of(self.cluster, workload.selector)
            if pod.runs
            for container in pod.containers
        )

    # ── which ────────────────────────────────────────────────────────────────────────────────────

    def _found(self) -> tuple[Workload, ...]:
        if self.workloads:
            return tuple(
                read_workload(kind, self.cluster.get(kind, name))
                for kind, name in map(parse_name, self.workloads)
            )
        found = tuple(
            read_workload(kind, document)
            for kind in WORKLOADS
            for document in self.cluster.list(kind, selector=self.selector)
        )
        if not found:
            raise PlatformRefused(
                f"namespace `{self.cluster.namespace}` has no Deployment or StatefulSet with the "
                f"label `{self.selector}`",
                hint="export ALEXANDRIA_KUBERNETES__WORKLOADS='deployment/alexandria-api'",
            )
        return found

    def _names(self, record: StopRecord) -> tuple[tuple[Kind, str], ...]:
        """Return the workloads of a record; of one that tells none, those that are there."""
        if record.units:
            return tuple(parse_name(unit.name) for unit in record.units)
        return tuple((workload.kind, workload.name) for workload in self._found())

    def _needed(self, workloads: Sequence[Workload]) -> Iterator[Wanted]:
        for workload in workloads:
            yield self.cluster.wanted("get", workload.kind, workload.name)
            yield self.cluster.wanted("patch", workload.kind, workload.name)
        yield self.cluster.wanted("list", PODS)
        yield self.cluster.wanted("get", PODS, subresource="log")
        yield from autoscaling.wanted(self.cluster, workloads)

    def _scale(self, replicas: str) -> str:
        named = self.workloads or ("deployment,statefulset", f"--selector={self.selector}")
        namespace = self.cluster.place.namespace
        where = ("--namespace", namespace) if namespace else ()
        return shlex.join(("kubectl", "scale", *named, f"--replicas={replicas}", *where))

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────

    def _wait_until_gone(self, workloads: Sequence[Workload]) -> None:
        left = wait(lambda: self._left(workloads), patience_s=self.stop_patience_s)
        if left:
            raise PlatformRefused(
                f"{len(left)} pods are not gone after {self.stop_patience_s:g} s, such as "
                f"{left[0]}",
                hint=self._describe(left[0]),
            )

    def _left(self, workloads: Sequence[Workload]) -> tuple[Pod, ...]:
        """Return the pods that still run; raises PlatformRefused where somebody wants more."""
        for workload in workloads:
            found = self.cluster.get(workload.kind, workload.name)
            self._refuse_scaled(read_workload(workload.kind, found))
        return tuple(
            pod for w in workloads for pod in pods_of(self.cluster, w.selector) if pod.runs
        )

    def _wait_until_ready(self, kind: Kind, name: str) -> None:
        found = wait(lambda: self._unready(kind, name), patience_s=self.start_patience_s)
        if found is None:
            return
        waiting = [pod for pod in pods_of(self.cluster, found.selector) if not pod.ready]
        which = f", such as {waiting[0]}" if waiting else ", and no pod was made"
        raise ApplicationNotReady(
            f"{found.ready} of {found.replicas} pods of `{found.label}` are ready after "
            f"{self.start_patience_s:g} s{which}",
            hint=self._describe(waiting[0]) if waiting else f"kubectl describe {found.label}",
        )

    def _unready(self, kind: Kind, name: str) -> Workload | None:
        """Return the workload where it has fewer pods than it shall; None where all are Ready."""
        found = read_workload(kind, self.cluster.get(kind, name))
        return None if found.observed and found.ready >= found.replicas else found

    def _refuse_scaled(self, found: Workload) -> None:
        if found.replicas == 0:
            return
        who = f"`{found.scaled_by}`" if found.scaled_by else "somebody"
        raise PlatformRefused(
            f"{who} has scaled `{found.label}` to {found.replicas} while it is to be stopped",
            hint="stop what scales it (see `alexandria doctor`), and try again",
        )

    def _describe(self, pod: Pod) -> str:
        return shlex.join(
            ("kubectl", "describe", "pod", pod.name, "--namespace", self.cluster.namespace)
        )
