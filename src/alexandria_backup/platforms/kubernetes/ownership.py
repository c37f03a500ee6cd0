"""Who else holds a workload as it is written somewhere: Flux and Argo CD.

While the application is stopped, either may scale it up again. Neither is paused by us, since what
they watch is larger than this application; the operator is told the exact command instead.
"""

import shlex
from collections.abc import Iterator, Sequence

from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.cluster.documents import part
from alexandria_backup.cluster.kinds import HELM_RELEASES, KUSTOMIZATIONS
from alexandria_backup.errors import PlatformRefused
from alexandria_backup.platforms.kubernetes.workload import Workload
from alexandria_backup.platforms.platform import Advice

#: Kind of Flux's object, the prefix of the labels that name it, and the word of `flux suspend`.
_FLUX = (
    (KUSTOMIZATIONS, "kustomize.toolkit.fluxcd.io", "kustomization"),
    (HELM_RELEASES, "helm.toolkit.fluxcd.io", "helmrelease"),
)
_ARGO_ID = "argocd.argoproj.io/tracking-id"
_ARGO_LABEL = "argocd.argoproj.io/instance"


def advice(cluster: Cluster, workloads: Sequence[Workload]) -> tuple[Advice, ...]:
    """Return one piece of advice per owner that is not suspended."""
    found = {
        item.command: item
        for workload in workloads
        for item in (*_flux(cluster, workload), *_argo(workload))
    }
    return tuple(found.values())


def _flux(cluster: Cluster, workload: Workload) -> Iterator[Advice]:
    for kind, prefix, word in _FLUX:
        name = workload.labels.get(f"{prefix}/name")
        if name is None:
            continue
        namespace = workload.labels.get(f"{prefix}/namespace") or cluster.namespace
        try:
            owner = cluster.find(kind, name, namespace=namespace)
        except PlatformRefused:
            # Often we may not look into Flux's namespace: then it is not known to be suspended.
            owner = None
        if part(owner or {}, "spec").get("suspend") is True:
            continue
        yield Advice(
            message=f"Flux keeps `{workload.label}` as its {word} `{name}` says, and may scale it "
            "up while it is stopped",
            command=shlex.join(("flux", "suspend", word, name, "--namespace", namespace)),
        )


def _argo(workload: Workload) -> Iterator[Advice]:
    name = workload.annotations.get(_ARGO_ID, "").partition(":")[0]
    name = name or workload.labels.get(_ARGO_LABEL, "")
    if name:
        yield Advice(
            message=f"Argo CD keeps `{workload.label}` as its application `{name}` says; with "
            "self-heal it scales it up while it is stopped",
            command=shlex.join(("argocd", "app", "set", name, "--sync-policy", "none")),
        )
