"""The calls that this program makes to the Kubernetes API, each with a timeout.

Every write names the `resourceVersion` it was decided on, so that a change of somebody else in
between is a conflict and not lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alexandria_backup.cluster.access import Access, ClusterPlace, load_access
from alexandria_backup.cluster.documents import Document, part, parts
from alexandria_backup.cluster.kinds import ACCESS_REVIEWS, PODS, Kind, Wanted
from alexandria_backup.errors import ClusterObjectMissing, ClusterUnreachable

if TYPE_CHECKING:
    from alexandria_backup.cluster.conversation import Conversation

#: How many objects are fetched at once.
_PAGE = "500"


@dataclass(kw_only=True)
class Cluster:
    """One namespace of one cluster. Nothing is asked before the first call.

    Calls that get no answer, 429 or 5xx are repeated for `patience_s`: all of them may be made
    twice. Raises ClusterUnreachable, ClusterDenied, ClusterObjectMissing, ClusterConflict.
    """

    place: ClusterPlace
    #: Seconds for one answer.
    timeout_s: float = 10.0
    #: Seconds for which a cluster that is away is asked again.
    patience_s: float = 30.0
    _access: Access | None = field(default=None, init=False, repr=False)
    _conversation: "Conversation | None" = field(default=None, init=False, repr=False)

    @property
    def namespace(self) -> str:
        """The namespace of the application."""
        return self._loaded().namespace

    @property
    def server(self) -> str:
        """The URL of the API."""
        return self._loaded().server

    def knows(self, kind: Kind) -> bool:
        """Tell whether the kind is installed: whoever may not list it is refused either way."""
        try:
            found = self._document(Wanted(verb="get", kind=kind, discovery=True))
        except ClusterObjectMissing:
            return False
        return kind.plural in {item.get("name") for item in parts(found, "resources")}

    def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Document:
        """Return one object."""
        return self._document(self._named("get", kind, name, namespace))

    def find(self, kind: Kind, name: str, *, namespace: str | None = None) -> Document | None:
        """Return one object, or None where it, or its kind, does not exist."""
        try:
            return self.get(kind, name, namespace=namespace)
        except ClusterObjectMissing:
            return None

    def list(self, kind: Kind, *, selector: str = "") -> tuple[Document, ...]:
        """Return all objects of a kind whose labels fit; nothing where the kind is not installed.

        An answer that is no list raises ClusterUnreachable: whoever waits until no pod is left
        must never take the word of a proxy for it.
        """
        wanted = Wanted(verb="list", kind=kind, namespace=self.namespace)
        found: list[Document] = []
        more = ""
        while True:
            asked = {"labelSelector": selector, "limit": _PAGE, "continue": more}
            try:
                page = self._document(wanted, params={k: v for k, v in asked.items() if v})
            except ClusterObjectMissing:
                if kind.built_in:
                    raise self._no_list(kind) from None
                return ()
            if "items" not in page:
                raise self._no_list(kind)
            found += parts(page, "items")
            more = str(part(page, "metadata").get("continue") or "")
            if not more:
                return tuple(found)

    def _no_list(self, kind: Kind) -> ClusterUnreachable:
        return ClusterUnreachable(
            f"`{self.server}` does not answer as a Kubernetes API: it has no list of "
            f"`{kind.plural}`",
            hint="kubectl version",
        )

    def patch(self, kind: Kind, name: str, change: Document) -> Document:
        """Merge a change into an object; raises ClusterConflict where its version is another."""
        return self._document(
            self._named("patch", kind, name),
            json=change,
            headers={"Content-Type": "application/merge-patch+json"},
        )

    def log(self, pod: str, container: str, *, seconds: int, limit_bytes: int) -> str:
        """Return what a container of a pod said in the last seconds."""
        wanted = self._named("get", PODS, pod, subresource="log")
        asked = {
            "container": container,
            "sinceSeconds": str(max(1, seconds)),
            "limitBytes": str(limit_bytes),
        }
        return self._talk().send(wanted, params=asked).text

    def allows(self, wanted: Wanted) -> bool:
        """Ask the cluster whether we may do it; changes nothing."""
        attributes = {
            "namespace": wanted.namespace,
            "verb": wanted.verb,
            "group": wanted.kind.group,
            "resource": wanted.kind.plural,
            "name": wanted.name,
            "subresource": wanted.subresource,
        }
        spec = {"resourceAttributes": {k: v for k, v in attributes.items() if v}}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": spec,
        }
        answer = self._document(Wanted(verb="create", kind=ACCESS_REVIEWS), json=body)
        return part(answer, "status").get("allowed") is True

    def wanted(
        self, verb: str, kind: Kind, name: str | None = None, subresource: str | None = None
    ) -> Wanted:
        """Return what a call would ask for, as `allows` takes it."""
        return Wanted(
            verb=verb, kind=kind, name=name, namespace=self.namespace, subresource=subresource
        )

    def _named(
        self,
        verb: str,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Wanted:
        return Wanted(
            verb=verb,
            kind=kind,
            name=name,
            namespace=namespace or self.namespace,
            subresource=subresource,
        )

    def _document(
        self,
        wanted: Wanted,
        *,
        params: Mapping[str, str] | None = None,
        json: Document | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        return self._talk().ask(wanted, params=params, json=json, headers=headers)

    def _talk(self) -> "Conversation":
        if self._conversation is None:
            # Here, since httpx takes longer to import than most commands take; most ask no cluster.
            from alexandria_backup.cluster.conversation import Conversation  # noqa: PLC0415

            self._conversation = Conversation(
                place=self.place,
                access=self._loaded(),
                timeout_s=self.timeout_s,
                patience_s=self.patience_s,
            )
        return self._conversation

    def _loaded(self) -> Access:
        if self._access is None:
            self._access = load_access(self.place)
        return self._access
