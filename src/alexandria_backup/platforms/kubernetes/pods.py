"""The pods of a workload: which still run, and why one does not get ready."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from alexandria_backup.cluster.cluster import Cluster, Document
from alexandria_backup.cluster.kinds import PODS

#: Phases of a pod whose processes have all ended; such a pod may lie there for days.
_OVER = {"Succeeded", "Failed"}


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

    def __str__(self) -> str:
        said = "terminating" if self.terminating else self.reason
        return f"`{self.name}`" + (f" ({said})" if said else "")


def pods_of(cluster: Cluster, selector: str) -> tuple[Pod, ...]:
    """Return the pods with these labels, those that are being ended included."""
    return tuple(_read(document) for document in cluster.list(PODS, selector=selector))


def _read(document: Document) -> Pod:
    metadata, status = _map(document.get("metadata")), _map(document.get("status"))
    conditions = list(_maps(status.get("conditions")))
    return Pod(
        name=str(metadata.get("name")),
        runs=status.get("phase") not in _OVER,
        terminating="deletionTimestamp" in metadata,
        ready={"Ready"} <= {c.get("type") for c in conditions if c.get("status") == "True"},
        reason=next(_reasons(status, conditions), ""),
    )


def _reasons(status: Document, conditions: Iterable[Document]) -> Iterator[str]:
    """Yield what containers wait for, then what keeps the pod from being scheduled."""
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in _maps(status.get(key)):
            reason = _map(_map(container.get("state")).get("waiting")).get("reason")
            if reason:
                yield str(reason)
    for condition in conditions:
        if condition.get("status") == "False" and condition.get("reason"):
            yield str(condition["reason"])


def _map(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object) -> Iterator[Document]:
    yield from (_map(item) for item in (value if isinstance(value, list) else []))
