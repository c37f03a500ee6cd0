"""A Deployment or StatefulSet as a stop and a start see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from alexandria_backup.cluster.documents import Document, count, part, parts, texts
from alexandria_backup.cluster.kinds import WORKLOADS, Kind
from alexandria_backup.errors import SettingsInvalid

#: On what we have scaled to 0: how many instances ran before.
SAVED = "alexandria-backup/replicas"
_KINDS = {name: kind for kind in WORKLOADS for name in (kind.word, kind.plural)} | {
    "deploy": WORKLOADS[0],
    "sts": WORKLOADS[1],
}


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One object, at one version of it."""

    kind: Kind
    name: str
    #: The version that a change is decided on.
    version: str
    replicas: int
    #: What `SAVED` says; None where it is not there.
    saved: int | None
    #: The labels of its pods, as the API takes them.
    selector: str
    #: How many of its pods are Ready, of the newest template.
    ready: int
    #: Whether its controller has seen the newest change.
    observed: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    #: Who has set the number of replicas, where the API tells.
    scaled_by: str | None

    @property
    def label(self) -> str:
        """The name as `kubectl` takes it: `deployment/alexandria-api`."""
        return f"{self.kind.word}/{self.name}"


def parse_name(text: str) -> tuple[Kind, str]:
    """Read `deployment/alexandria-api`; a name alone is a Deployment's. Raises SettingsInvalid."""
    word, _, name = text.rpartition("/")
    kind = _KINDS.get(word.lower() or WORKLOADS[0].word)
    if kind is None or not name:
        raise SettingsInvalid(
            f"`{text}` in `[kubernetes] workloads` is not a Deployment or StatefulSet",
            hint="export ALEXANDRIA_KUBERNETES__WORKLOADS='deployment/alexandria-api'",
        )
    return kind, name


def read_workload(kind: Kind, document: Document) -> Workload:
    """Read what the API answers."""
    metadata, spec, status = (part(document, key) for key in ("metadata", "spec", "status"))
    annotations, labels = texts(metadata, "annotations"), texts(metadata, "labels")
    replicas = spec.get("replicas")
    ready = min(count(status, "readyReplicas"), count(status, "updatedReplicas"))
    return Workload(
        kind=kind,
        name=str(metadata.get("name")),
        version=str(metadata.get("resourceVersion")),
        # The API's own default, where nobody has set it.
        replicas=replicas if isinstance(replicas, int) else 1,
        saved=_saved(annotations),
        selector=_selector(part(spec, "selector")),
        ready=ready,
        observed=count(status, "observedGeneration") >= count(metadata, "generation"),
        labels=labels,
        annotations=annotations,
        scaled_by=_scaled_by(metadata),
    )


def _saved(annotations: Mapping[str, str]) -> int | None:
    text = annotations.get(SAVED, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _selector(selector: Document) -> str:
    terms = [f"{key}={value}" for key, value in sorted(texts(selector, "matchLabels").items())]
    for found in parts(selector, "matchExpressions"):
        key, values = str(found.get("key")), found.get("values")
        match str(found.get("operator")):
            case "Exists":
                terms.append(key)
            case "DoesNotExist":
                terms.append(f"!{key}")
            case operator:
                listed = ",".join(map(str, values if isinstance(values, list) else ()))
                terms.append(f"{key} {operator.lower()} ({listed})")
    return ",".join(terms)


def _scaled_by(metadata: Document) -> str | None:
    """Return the manager of `spec.replicas`, the newest where several have set it."""
    for entry in reversed(list(parts(metadata, "managedFields"))):
        if "f:replicas" in part(entry, "fieldsV1", "f:spec"):
            return str(entry.get("manager"))
    return None
