import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_kubernetes_api_support import Served
from fake_kubernetes_support import NAMESPACE, TOKEN
from import_blocker_support import without

from alexandria_backup.cluster.access import ClusterPlace, load_access
from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.cluster.kinds import DEPLOYMENTS, PODS, SCALED_OBJECTS, SECRETS, Kind
from alexandria_backup.errors import (
    ClusterConflict,
    ClusterDenied,
    ClusterObjectMissing,
    ClusterUnreachable,
)
from alexandria_backup.secret import Secret

_HTML = b"<!DOCTYPE html><title>Sign in</title>"
Answer = tuple[int, str, bytes, dict[str, str]]


@pytest.fixture
def cluster(served: Served) -> Cluster:
    served.cluster.secret("alexandria-ee", database_dsn=b"postgresql://u@h/d")
    return Cluster(place=ClusterPlace(kubeconfig=served.kubeconfig), patience_s=2)


def times(count: int, *answer: object) -> Callable[[str, str], Answer | None]:
    """Give an answer so many times, and then none."""
    left = [answer] * count
    return lambda *_: left.pop() if left else None  # type: ignore[return-value]


def status(code: int, message: str = "no", **headers: str) -> Answer:
    document = {"kind": "Status", "message": message, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return code, "application/json", json.dumps(document).encode(), named


def test_an_object_is_read_in_the_namespace_of_the_context(cluster: Cluster) -> None:
    assert cluster.namespace == NAMESPACE
    assert cluster.get(SECRETS, "alexandria-ee")["type"] == "Opaque"


def test_a_long_list_is_fetched_to_its_end(cluster: Cluster, served: Served) -> None:
    for number in range(3):
        served.cluster.workload(f"api-{number}")
    names = [item["metadata"]["name"] for item in cluster.list(DEPLOYMENTS)]  # type: ignore[index]
    assert names == ["api-0", "api-1", "api-2"]


def test_a_kind_that_is_not_installed_has_no_objects(cluster: Cluster, served: Served) -> None:
    served.cluster.absent.add("scaledobjects")
    assert cluster.list(SCALED_OBJECTS) == ()
    assert cluster.find(SCALED_OBJECTS, "x") is None


def test_a_write_on_an_old_version_is_a_conflict(cluster: Cluster, served: Served) -> None:
    served.cluster.workload("api")
    before = cluster.get(DEPLOYMENTS, "api")
    served.cluster.scale("deployments", "api", 5)
    version = before["metadata"]["resourceVersion"]  # type: ignore[index]
    change = {"metadata": {"resourceVersion": version}, "spec": {"replicas": 0}}
    with pytest.raises(ClusterConflict, match="was changed by somebody else"):
        cluster.patch(DEPLOYMENTS, "api", change)
    assert served.cluster.get("deployments", "api")["spec"]["replicas"] == 5


def test_what_is_not_there_is_named(cluster: Cluster) -> None:
    with pytest.raises(ClusterObjectMissing, match=r"no `secret/none` in namespace `llm`"):
        cluster.get(SECRETS, "none")


def test_a_missing_right_is_named_with_the_rule_that_grants_it(
    cluster: Cluster, served: Served
) -> None:
    served.cluster.allowed = lambda *_: False
    with pytest.raises(ClusterDenied, match="may not `get` `secret/alexandria-ee`") as caught:
        cluster.get(SECRETS, "alexandria-ee")
    assert caught.value.hint == (
        "kubectl create role alexandria-get-secrets --verb=get --resource=secrets "
        "--resource-name alexandria-ee --namespace llm && kubectl create rolebinding "
        "alexandria-get-secrets --role=alexandria-get-secrets --serviceaccount=llm:backup "
        "--namespace llm"
    )
    with pytest.raises(ClusterDenied) as listed:
        cluster.list(DEPLOYMENTS)
    assert "--verb=list --resource=deployments.apps --namespace" in (listed.value.hint or "")
    assert len(served.cluster.asked) == 2


def test_a_right_can_be_asked_for_beforehand(cluster: Cluster, served: Served) -> None:
    served.cluster.allowed = lambda verb, *_: verb == "get"
    assert cluster.allows(cluster.wanted("get", DEPLOYMENTS, "api"))
    assert not cluster.allows(cluster.wanted("patch", DEPLOYMENTS, "api"))


def test_a_rotated_token_is_read_again(cluster: Cluster, served: Served) -> None:
    cluster.get(SECRETS, "alexandria-ee")
    served.cluster.tokens = {"rotated"}
    text = served.kubeconfig.read_text().replace(TOKEN, "rotated")
    served.kubeconfig.write_text(text)
    cluster.get(SECRETS, "alexandria-ee")
    served.cluster.tokens = set()
    with pytest.raises(ClusterDenied, match="does not accept our credentials"):
        cluster.get(SECRETS, "alexandria-ee")


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_waited_out(cluster: Cluster, served: Served, code: int) -> None:
    served.cluster.fault = times(2, *status(code))
    cluster.get(SECRETS, "alexandria-ee")
    assert len(served.cluster.asked) == 3


def test_a_wait_that_is_longer_than_our_patience_is_not_begun(
    cluster: Cluster, served: Served
) -> None:
    served.cluster.fault = times(9, *status(429, Retry_After="60"))
    with pytest.raises(ClusterUnreachable, match="too busy"):
        cluster.get(SECRETS, "alexandria-ee")
    assert len(served.cluster.asked) == 1


def test_a_failure_that_stays_is_told(cluster: Cluster, served: Served) -> None:
    served.cluster.fault = times(99, *status(503, "etcd is away"))
    with pytest.raises(ClusterUnreachable, match=r"503.*etcd is away"):
        cluster.get(SECRETS, "alexandria-ee")


@pytest.mark.parametrize("code", [200, 403])
def test_a_page_of_a_proxy_is_recognised(cluster: Cluster, served: Served, code: int) -> None:
    served.cluster.fault = times(1, code, "text/html", _HTML, {})
    if code == 403:
        with pytest.raises(ClusterDenied):
            cluster.get(SECRETS, "alexandria-ee")
        return
    with pytest.raises(ClusterUnreachable, match="200 with an HTML page, probably of a proxy"):
        cluster.get(SECRETS, "alexandria-ee")


def test_a_redirect_is_not_followed(cluster: Cluster, served: Served) -> None:
    served.cluster.fault = times(1, 302, "text/plain", b"", {"Location": "https://login.example"})
    with pytest.raises(ClusterUnreachable, match="a redirect, probably to a login page"):
        cluster.get(SECRETS, "alexandria-ee")


def test_a_certificate_that_is_not_trusted_is_said(served: Served, tmp_path: Path) -> None:
    lines = served.kubeconfig.read_text().replace(", certificate-authority: ", ", extensions: [] #")
    broken = tmp_path / "no-authority"
    broken.write_text(
        "\n".join(
            line.partition("#")[0] + ("}}]" if "#" in line else "") for line in lines.splitlines()
        )
    )
    cluster = Cluster(place=ClusterPlace(kubeconfig=broken), patience_s=0)
    with pytest.raises(ClusterUnreachable, match="certificate is not trusted"):
        cluster.get(SECRETS, "x")


def test_a_cluster_that_is_away_is_said(served: Served, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.write_text(served.kubeconfig.read_text().replace(served.url, "https://127.0.0.1:1"))
    with pytest.raises(ClusterUnreachable, match="refused"):
        Cluster(place=ClusterPlace(kubeconfig=away), patience_s=0).get(PODS, "x")


@pytest.mark.parametrize(
    "text", ["", "{", "- a list", "current-context: none", "contexts: []", "\x00"]
)
def test_a_kubeconfig_that_means_nothing_is_an_error(tmp_path: Path, text: str) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text(text)
    with pytest.raises(ClusterDenied, match="cannot be read"):
        load_access(ClusterPlace(kubeconfig=broken))


def test_no_part_of_a_token_is_ever_shown(served: Served) -> None:
    text = served.kubeconfig.read_text().replace(TOKEN, '"sword\\nfish"')
    served.kubeconfig.write_text(text)
    with pytest.raises(ClusterUnreachable) as caught:
        Cluster(place=ClusterPlace(kubeconfig=served.kubeconfig)).get(PODS, "x")
    assert "fish" not in str(caught.value) + str(caught.value.__cause__) + str(caught.value.hint)
    assert "fish" not in repr(load_access(ClusterPlace(kubeconfig=served.kubeconfig)))


def test_keys_that_kr8s_writes_to_disk_are_removed(served: Served, certificate: Path) -> None:
    pem = base64.b64encode(certificate.read_bytes()).decode()
    text = served.kubeconfig.read_text()
    text = text.replace(
        f"token: {TOKEN}", f"client-key-data: {pem}, client-certificate-data: {pem}"
    )
    served.kubeconfig.write_text(text)
    before = set(Path(tempfile.gettempdir()).iterdir())
    load_access(ClusterPlace(kubeconfig=served.kubeconfig))
    assert set(Path(tempfile.gettempdir()).iterdir()) == before


def test_a_pod_has_its_own_account(
    served: Served, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text(TOKEN + "\n")
    (account / "namespace").write_text("llm\n")
    (account / "ca.crt").write_bytes(certificate.read_bytes())
    port = served.url.rpartition(":")[2]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    served.cluster.secret("alexandria-ee")
    place = ClusterPlace(service_account=account)
    assert place.is_there()
    cluster = Cluster(place=place)
    assert cluster.namespace == "llm"
    cluster.get(SECRETS, "alexandria-ee")


def test_an_exec_plugin_is_run_and_its_failure_said(served: Served, tmp_path: Path) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": TOKEN},
    }
    (tmp_path / "credential").write_text(json.dumps(credential))
    command = json.dumps(
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "cat",
            "args": [str(tmp_path / "credential")],
        }
    )
    text = served.kubeconfig.read_text().replace(f"token: {TOKEN}", f"exec: {command}")
    served.kubeconfig.write_text(text)
    served.cluster.secret("x")
    Cluster(place=ClusterPlace(kubeconfig=served.kubeconfig)).get(SECRETS, "x")
    (tmp_path / "credential").unlink()
    with pytest.raises(ClusterDenied, match="RuntimeError"):
        load_access(ClusterPlace(kubeconfig=served.kubeconfig))


def test_an_exec_plugin_does_not_see_our_dsn(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXANDRIA_DSN", "postgresql://u:swordfish@h/d")
    monkeypatch.setenv("PLUGIN_NEEDS", "this")
    seen = tmp_path / "seen"
    status = json.dumps({"status": {"token": TOKEN}})
    command = json.dumps(
        {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", f"env > {seen}; echo '{status}'"],
        }
    )
    text = served.kubeconfig.read_text().replace(f"token: {TOKEN}", f"exec: {command}")
    served.kubeconfig.write_text(text)
    assert load_access(ClusterPlace(kubeconfig=served.kubeconfig)).token == Secret(TOKEN)
    assert "PLUGIN_NEEDS=this" in seen.read_text()
    assert "swordfish" not in seen.read_text()
    assert os.environ["ALEXANDRIA_DSN"].endswith("/d")


def test_without_the_extra_it_says_what_to_install(served: Served) -> None:
    with without("kr8s"), pytest.raises(ClusterUnreachable, match="extra `kubernetes`") as caught:
        load_access(ClusterPlace(kubeconfig=served.kubeconfig))
    assert caught.value.hint == "pip install 'alexandria-backup[kubernetes]'"


def test_no_cluster_is_no_mystery() -> None:
    assert not ClusterPlace().is_there()
    with pytest.raises(ClusterUnreachable, match="no kubeconfig"):
        load_access(ClusterPlace())


def test_paths_are_those_of_the_api() -> None:
    assert Kind("", "v1", "pods", "pod").base == "/api/v1"
    assert DEPLOYMENTS.base == "/apis/apps/v1"


# ── the fake itself ──────────────────────────────────────────────────────────────────────────────


def kubectl(served: Served, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", f"--kubeconfig={served.kubeconfig}", "--request-timeout=20s", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_fake_answers_the_real_kubectl(served: Served) -> None:
    cluster = served.cluster
    cluster.secret("alexandria-ee", database_dsn=b"postgresql://u@h/d")
    cluster.workload("api", replicas=2)
    jsonpath = "-ojsonpath={.data.database-dsn}"
    read = kubectl(served, "get", "secret", "alexandria-ee", jsonpath)
    assert read.stdout == "cG9zdGdyZXNxbDovL3VAaC9k", read.stderr
    rolled = kubectl(served, "rollout", "status", "deployment/api", "--timeout=20s")
    assert "successfully rolled out" in rolled.stdout, rolled.stderr
    assert kubectl(served, "get", "pods", "-oname").stdout.count("pod/api-") == 2
    scaled = kubectl(served, "scale", "deployment/api", "--replicas=0")
    assert scaled.returncode == 0, scaled.stderr
    kubectl(served, "rollout", "status", "deployment/api", "--timeout=20s")
    assert cluster.get("deployments", "api")["spec"]["replicas"] == 0
    may = kubectl(served, "auth", "can-i", "patch", "deployments.apps/api")
    assert may.stdout.strip() == "yes", may.stderr
    cluster.allowed = lambda verb, *_: verb != "patch"
    assert kubectl(served, "auth", "can-i", "patch", "deployments").stdout.strip() == "no"
    cluster.tokens = set()
    assert "Unauthorized" in kubectl(served, "get", "pods").stderr
