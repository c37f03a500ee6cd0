"""The API of the fake cluster, as `kubectl` and this program speak it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fake_kubernetes_support import (
    KINDS,
    NAMESPACE,
    TOKEN,
    Conflict,
    FakeCluster,
    Missing,
    Object,
    kind_of,
)
from web_server_support import Handler, running

_PATH = re.compile(
    r"/(?:api|apis)/(?P<version>v1|[^/]+/v[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?"
)
_PROTOBUF = b"k8s\x00"
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
}
_VERBS = {"GET": "get", "PATCH": "patch", "PUT": "update", "POST": "create"}


@dataclass(frozen=True, kw_only=True)
class Served:
    """A cluster that listens, and the kubeconfig that leads to it."""

    cluster: FakeCluster
    url: str
    kubeconfig: Path


@contextmanager
def serving(cluster: FakeCluster, folder: Path, certificate: Path) -> Iterator[Served]:
    """Serve a cluster by TLS with an authority of its own, its controller at work."""
    handler = type("ClusterHandler", (_Handler,), {"cluster": cluster})
    with running(handler, certificate) as url, cluster.working():
        kubeconfig = folder / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(
            f"""\
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test, namespace: {NAMESPACE}}}}}]
clusters: [{{name: test, cluster: {{server: "{url}", certificate-authority: "{certificate}"}}}}]
users: [{{name: test, user: {{token: {TOKEN}}}}}]
""",
            encoding="utf-8",
        )
        yield Served(cluster=cluster, url=url, kubeconfig=kubeconfig)


class _Handler(Handler):
    cluster: FakeCluster

    def decoded(self, data: bytes) -> Any:
        if not data.startswith(_PROTOBUF):
            return super().decoded(data)
        # `kubectl auth can-i` speaks protobuf: unknown → review → spec → attributes.
        review = _fields(_fields(data.removeprefix(_PROTOBUF))[2])
        attributes = _fields(_fields(review[2])[1])
        names = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
        told = {name: attributes.get(n, b"").decode() for n, name in enumerate(names, start=1)}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": told},
        }

    def serve(self, method: str) -> None:
        body = self.body()
        parts = urlsplit(self.path)
        self.cluster.asked.append(f"{method} {parts.path}")
        instead = self.cluster.fault(method, parts.path)
        if instead is not None:
            status, kind, data, headers = instead
            self.answer(status, data, kind=kind, headers=headers)
            return
        if self.headers.get("Authorization") not in {f"Bearer {t}" for t in self.cluster.tokens}:
            self._status(401, "Unauthorized")
            return
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        try:
            self._route(method, parts.path, query, body)
        except Missing as error:
            self._status(404, f'"{error}" not found')
        except Conflict as error:
            self._status(
                409, f'Operation cannot be fulfilled on "{error}": the object has been modified'
            )

    def answer(
        self,
        status: int,
        body: object,
        *,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.cluster.carried_out(self.command, self.path)
        super().answer(status, body, kind=kind, headers=headers)

    def _route(self, method: str, path: str, query: dict[str, str], body: Any) -> None:
        found = _discovery(path, self.cluster.absent)
        if method == "GET" and found is not None:
            self.answer(200, found)
            return
        match = _PATH.fullmatch(path)
        if match is None:
            raise Missing(path)
        plural, name, sub = match["plural"], match["name"] or "", match["sub"] or ""
        if plural == "selfsubjectaccessreviews":
            self._review(body)
            return
        group = match["version"].rpartition("/")[0]
        verb = _VERBS[method] if name else "watch" if query.get("watch") else "list"
        if not self.cluster.allowed(verb, plural + (f".{group}" if group else ""), sub, name):
            resource = plural + (f"/{sub}" if sub else "")
            self._status(
                403,
                f'{plural} "{name}" is forbidden: User "system:serviceaccount:{NAMESPACE}:backup" '
                f'cannot {verb} resource "{resource}" in API group "{group}" '
                f'in the namespace "{NAMESPACE}"',
            )
            return
        # As in a real API, whoever may not ask is refused before it is looked whether there is any.
        if plural not in KINDS.get(match["version"], {}) or plural in self.cluster.absent:
            raise Missing(path)
        if match["namespace"] not in {NAMESPACE, None}:
            raise Missing(name)
        self._object(method, match, query, body)

    def _object(self, method: str, match: re.Match[str], query: dict[str, str], body: Any) -> None:
        plural, name, sub = match["plural"], match["name"] or "", match["sub"] or ""
        if sub == "scale":
            self._scale(method, plural, name, query, body)
        elif sub == "log":
            self._log(name, query.get("container"))
        elif sub:
            raise Missing(sub)
        elif not name:
            self._many(plural, query)
        elif method == "GET":
            self.answer(200, self.cluster.get(plural, name))
        else:
            self.answer(200, self.cluster.patch(plural, name, body, self._manager(query)))

    def _log(self, pod: str, container: str | None) -> None:
        there = [c["name"] for c in self.cluster.get("pods", pod)["spec"]["containers"]]
        if container not in (there if len(there) > 1 else [*there, None]):
            self._status(400, f"a container name must be specified for pod {pod}")
            return
        self.answer(200, self.cluster.machine.log(pod).encode(), kind="text/plain")

    def _many(self, plural: str, query: dict[str, str]) -> None:
        labels = dict(
            part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part
        )
        field = query.get("fieldSelector", "").removeprefix("metadata.name=")
        if query.get("watch"):
            self._watch(plural, field, int(query.get("resourceVersion") or 0), query)
            return
        items = [
            item
            for item in self.cluster.all(plural, labels)
            if not field or item["metadata"]["name"] == field
        ]
        self.answer(200, _list(plural, items))

    def _watch(self, plural: str, name: str, after: int, query: dict[str, str]) -> None:
        deadline = time.monotonic() + min(float(query.get("timeoutSeconds") or 30), 30)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cluster = self.cluster
        while time.monotonic() < deadline:
            with cluster.changed:
                news = [
                    (version, happened, what)
                    for version, happened, kind, what in cluster.history
                    if version > after
                    and kind == plural
                    and (not name or what["metadata"]["name"] == name)
                ]
                if not news:
                    cluster.changed.wait(0.2)
            for version, happened, what in news:
                line = json.dumps({"type": happened, "object": what}).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                after = version
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _scale(self, method: str, plural: str, name: str, query: Any, body: Any) -> None:
        if method != "GET":
            change = {"spec": {"replicas": body["spec"]["replicas"]}}
            version = body.get("metadata", {}).get("resourceVersion")
            if version:
                change["metadata"] = {"resourceVersion": version}
            self.cluster.patch(plural, name, change, self._manager(query))
        found = self.cluster.get(plural, name)
        metadata = found["metadata"]
        kept = {k: metadata[k] for k in ("name", "namespace", "uid", "resourceVersion")}
        self.answer(
            200,
            {
                "kind": "Scale",
                "apiVersion": "autoscaling/v1",
                "metadata": kept,
                "spec": {"replicas": found["spec"]["replicas"]},
                "status": {"replicas": found["status"].get("replicas", 0)},
            },
        )

    def _review(self, body: Any) -> None:
        asked = body["spec"]["resourceAttributes"]
        group = asked.get("group", "")
        resource = asked["resource"] + (f".{group}" if group else "")
        allowed = self.cluster.allowed(
            asked["verb"], resource, asked.get("subresource", ""), asked.get("name", "")
        )
        self.answer(201, {**body, "status": {"allowed": allowed}})

    def _manager(self, query: dict[str, str]) -> str:
        return query.get("fieldManager") or self.headers.get("User-Agent", "").partition("/")[0]

    def _status(self, code: int, message: str) -> None:
        document = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": _REASONS[code],
            "code": code,
        }
        self.answer(code, document)


def _fields(message: bytes) -> dict[int, bytes]:
    """Return the fields of a protobuf message that have a length; all of them are short here."""
    found = {}
    while message:
        number, length = message[0] >> 3, message[1]
        found[number] = message[2 : 2 + length]
        message = message[2 + length :]
    return found


def _list(plural: str, items: list[Object]) -> Object:
    version, kind = kind_of(plural)
    newest = max((int(item["metadata"]["resourceVersion"]) for item in items), default=1)
    return {
        "kind": f"{kind}List",
        "apiVersion": version,
        "metadata": {"resourceVersion": str(newest)},
        "items": items,
    }


def _discovery(path: str, absent: set[str]) -> Object | None:
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.4"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    groups = [version for version in KINDS if "/" in version] + ["authorization.k8s.io/v1"]
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g) for g in groups]}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version == "authorization.k8s.io/v1":
        resources = [_resource("selfsubjectaccessreviews", "SelfSubjectAccessReview", False)]
    elif version in KINDS:
        resources = [
            _resource(plural, kind, plural != "namespaces")
            for plural, kind in KINDS[version].items()
            if plural not in absent
        ]
        if version == "apps/v1":
            resources += [
                {**_resource(f"{p}/scale", "Scale", True), "group": "autoscaling", "version": "v1"}
                for p in ("deployments", "statefulsets")
            ]
    else:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": resources,
    }


def _group(version: str) -> Object:
    entry = {"groupVersion": version, "version": version.rpartition("/")[2]}
    return {"name": version.partition("/")[0], "versions": [entry], "preferredVersion": entry}


def _resource(plural: str, kind: str, namespaced: bool) -> Object:
    return {
        "name": plural,
        "singularName": kind.lower(),
        "namespaced": namespaced,
        "kind": kind,
        "verbs": ["get", "list", "watch", "patch", "update", "create"],
    }
