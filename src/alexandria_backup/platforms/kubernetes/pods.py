"""The pods of a workload: which still run, and why one does not get ready."""

from collections.abc import Iterator
from dataclasses import dataclass

from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.cluster.documents import Document, part, parts
from alexandria_backup.cluster.kinds import PODS

#: Phases of a pod whose processes have all ended; such a pod may lie there for days.
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One pod, as far as a stop and a start have to do with it."""

    name: str
    #: Whether processes of it may still run; a terminating pod's do.
    runs: bool
    terminating: bool
    ready: bool
    #: Why it is not ready, such as `CrashLoopBackOff`; empty where nothing is said.
    reason: str
    #: The names of its containers, sidecars included.
    containers: tuple[str, ...]

    def __str__(self) -> str:
        said = "terminating" if self.terminating else self.reason
        return f"`{self.name}`" + (f" ({said})" if said else "")


def pods_of(cluster: Cluster, selector: str) -> tuple[Pod, ...]:
    """Return the pods with these labels, those that are being ended included."""
    return tuple(read_pod(document) for document in cluster.list(PODS, selector=selector))


def read_pod(document: Document) -> Pod:
    """Read what the API answers."""
    metadata, status = part(document, "metadata"), part(document, "status")
    conditions = {c.get("type"): c.get("status") for c in parts(status, "conditions")}
    return Pod(
        name=str(metadata.get("name")),
        runs=status.get("phase") not in _OVER,
        terminating="deletionTimestamp" in metadata,
        ready=conditions.get("Ready") == "True",
        reason=next(_reasons(status), ""),
        containers=tuple(str(c.get("name")) for c in parts(part(document, "spec"), "containers")),
    )


def _reasons(status: Document) -> Iterator[str]:
    """Yield what containers wait for, then what keeps the pod from being scheduled."""
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in parts(status, key):
            reason = part(container, "state", "waiting").get("reason")
            if reason:
                yield str(reason)
    for condition in parts(status, "conditions"):
        if condition.get("status") == "False" and condition.get("reason"):
            yield str(condition["reason"])
