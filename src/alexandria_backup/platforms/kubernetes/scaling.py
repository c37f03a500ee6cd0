"""Scale a workload to 0 and back to what was, each in one change on the version that was seen."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.cluster.documents import Document
from alexandria_backup.cluster.kinds import Kind
from alexandria_backup.errors import ClusterConflict
from alexandria_backup.platforms.kubernetes.workload import SAVED, Workload, read_workload
from alexandria_backup.platforms.platform import StoppedUnit

#: How often a change is decided anew after a conflict.
_ATTEMPTS = 10

T = TypeVar("T")


def hold(cluster: Cluster, kind: Kind, name: str) -> StoppedUnit:
    """Scale to 0 and write the number before on the object; raises ClusterConflict at last."""

    def change(found: Workload) -> tuple[Document | None, int]:
        if found.replicas == 0:
            # Stopped by us earlier, or by somebody else, and then it is left so.
            return None, found.saved or 0
        annotation = {SAVED: str(found.replicas)}
        return _changed(found, replicas=0, annotations=annotation), found.replicas

    _, instances = _decide(cluster, kind, name, change)
    return StoppedUnit(name=f"{kind.word}/{name}", instances=instances)


def release(cluster: Cluster, kind: Kind, name: str, instances: Mapping[str, int]) -> Workload:
    """Scale to the number before and return the workload as it is then.

    `instances` has the numbers of a stop that was journalled, by `Workload.label`; where it has
    none, the object itself tells. What somebody else has started meanwhile is left so.
    """

    def change(found: Workload) -> tuple[Document | None, None]:
        before = instances.get(found.label, found.saved)
        if found.saved is None and (found.replicas or not before):
            return None, None
        replicas = before if before is not None else found.replicas
        return _changed(found, replicas=replicas, annotations={SAVED: None}), None

    return _decide(cluster, kind, name, change)[0]


def _decide(
    cluster: Cluster,
    kind: Kind,
    name: str,
    change: Callable[[Workload], tuple[Document | None, T]],
) -> tuple[Workload, T]:
    """Change an object on the version that was looked at; look again after a conflict."""
    for attempt in range(_ATTEMPTS):
        found = read_workload(kind, cluster.get(kind, name))
        wanted, result = change(found)
        if wanted is None:
            return found, result
        try:
            return read_workload(kind, cluster.patch(kind, name, wanted)), result
        except ClusterConflict:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def _changed(found: Workload, *, replicas: int, annotations: Mapping[str, str | None]) -> Document:
    return {
        "metadata": {"resourceVersion": found.version, "annotations": annotations},
        "spec": {"replicas": replicas},
    }
