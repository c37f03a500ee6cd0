"""Which kinds of objects this program reads or changes, and how one of them is named."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of object, as the API's paths have it."""

    group: str
    version: str
    plural: str
    #: As people write it before a name: `deployment/alexandria-api`.
    word: str

    @property
    def base(self) -> str:
        """The path of the group."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def resource(self) -> str:
        """The kind as `kubectl` and RBAC rules take it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def built_in(self) -> bool:
        """Whether every cluster has the kind: groups of others are domain names."""
        return "." not in self.group


SECRETS = Kind("", "v1", "secrets", "secret")
PODS = Kind("", "v1", "pods", "pod")
DEPLOYMENTS = Kind("apps", "v1", "deployments", "deployment")
STATEFUL_SETS = Kind("apps", "v1", "statefulsets", "statefulset")
SCALED_OBJECTS = Kind("keda.sh", "v1alpha1", "scaledobjects", "scaledobject")
KUSTOMIZATIONS = Kind("kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "kustomization")
HELM_RELEASES = Kind("helm.toolkit.fluxcd.io", "v2", "helmreleases", "helmrelease")
ACCESS_REVIEWS = Kind(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "selfsubjectaccessreview"
)

#: What can be scaled.
WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of the API: one object, or, without a name, all of a kind."""

    verb: str
    kind: Kind
    name: str | None = None
    namespace: str | None = None
    subresource: str | None = None
    #: What is asked is which kinds the group has.
    discovery: bool = False

    @property
    def path(self) -> str:
        """The path below the server's URL."""
        if self.discovery:
            return self.kind.base
        within = f"/namespaces/{self.namespace}" if self.namespace else ""
        parts = (self.kind.plural, self.name, self.subresource)
        return "/".join((self.kind.base + within, *(part for part in parts if part)))

    @property
    def resource(self) -> str:
        """The kind as an RBAC rule has it, with the subresource."""
        return self.kind.resource + (f"/{self.subresource}" if self.subresource else "")

    def __str__(self) -> str:
        """Say it as people do: `secret/alexandria-ee` in namespace `llm`."""
        what = f"`{self.kind.word}/{self.name}`" if self.name else f"`{self.kind.plural}`"
        if self.subresource:
            what = f"the {self.subresource} of {what}"
        return f"{what} in namespace `{self.namespace}`" if self.namespace else what
