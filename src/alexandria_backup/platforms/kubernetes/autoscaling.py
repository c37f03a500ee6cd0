"""What scales a workload without being asked: KEDA is paused, a HorizontalPodAutoscaler rests.

A HorizontalPodAutoscaler leaves a workload of 0 alone until somebody scales it up, so nothing is
to be done about one. A ScaledObject of KEDA scales from 0 as well; pausing it also takes away the
HorizontalPodAutoscaler that KEDA has made for it.
"""

from collections.abc import Iterator, Mapping, Sequence

from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.cluster.documents import Document, part
from alexandria_backup.cluster.kinds import SCALED_OBJECTS, Wanted
from alexandria_backup.errors import ClusterConflict
from alexandria_backup.platforms.kubernetes.workload import Workload

_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_AT = "autoscaling.keda.sh/paused-replicas"
#: On a ScaledObject that we have paused; one that was paused before stays so.
_OURS = "alexandria-backup/paused"
_ATTEMPTS = 5


def pause(cluster: Cluster, workloads: Sequence[Workload]) -> None:
    """Pause every ScaledObject of these workloads; doing it twice equals doing it once."""
    for name, _ in _of(cluster, workloads):
        _annotate(cluster, name, pausing=True)


def resume(cluster: Cluster, workloads: Sequence[Workload]) -> None:
    """Let those go on that `pause` has paused."""
    for name, annotations in _of(cluster, workloads):
        if _OURS in annotations:
            _annotate(cluster, name, pausing=False)


def wanted(cluster: Cluster, workloads: Sequence[Workload]) -> Iterator[Wanted]:
    """Yield what we must be allowed to do to the ScaledObjects."""
    for name, _ in _of(cluster, workloads):
        yield cluster.wanted("get", SCALED_OBJECTS, name)
        yield cluster.wanted("patch", SCALED_OBJECTS, name)


def _of(
    cluster: Cluster, workloads: Sequence[Workload]
) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield name and annotations of the ScaledObjects; none where KEDA is not installed."""
    if not cluster.knows(SCALED_OBJECTS):
        return
    targets = {(workload.kind.word, workload.name) for workload in workloads}
    for found in cluster.list(SCALED_OBJECTS):
        target = part(found, "spec", "scaleTargetRef")
        kind = str(target.get("kind") or "Deployment").lower()
        if (kind, str(target.get("name"))) in targets:
            metadata = part(found, "metadata")
            yield str(metadata.get("name")), part(metadata, "annotations")


def _annotate(cluster: Cluster, name: str, *, pausing: bool) -> None:
    for attempt in range(_ATTEMPTS):
        metadata = part(cluster.get(SCALED_OBJECTS, name), "metadata")
        annotations = part(metadata, "annotations")
        if pausing and (annotations.get(_PAUSED) == "true" or _PAUSED_AT in annotations):
            return
        value = "true" if pausing else None
        change: Document = {
            "metadata": {
                "resourceVersion": metadata.get("resourceVersion"),
                "annotations": {_PAUSED: value, _OURS: value},
            }
        }
        try:
            cluster.patch(SCALED_OBJECTS, name, change)
        except ClusterConflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return
