"""What `alexandria manifests` writes is what a cluster and systemd accept."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import kubernetes_validate
import pytest
import yaml
from command_line_support import parse
from site_support import surroundings

from alexandria_backup.cli.main import invoke
from alexandria_backup.settings.audit import AuditSettings
from alexandria_backup.settings.description import fields, variable_of

needs_kubectl = pytest.mark.skipif(which("kubectl") is None, reason="there is no `kubectl`")
needs_analyze = pytest.mark.skipif(
    which("systemd-analyze") is None, reason="there is no `systemd-analyze`"
)
SETTINGS = {
    "ALEXANDRIA_REPOSITORY": "s3://bucket/alexandria",
    "ALEXANDRIA_KUBERNETES__NAMESPACE": "llm",
    "ALEXANDRIA_KUBERNETES__WORKLOADS": "deployment/alexandria-api statefulset/worker",
    "ALEXANDRIA_KUBERNETES__SECRET": "my-secret",
    "ALEXANDRIA_APPLICATION__CHECKS": "select 'it''s \"good\"' <> ''",
    "ALEXANDRIA_DRILL__CHECKS": "{\"recent\": \"select 'a' < 'b'\"}",
    "ALEXANDRIA_DRILL__FOLDER": "/data/drills",
    "ALEXANDRIA_AUDIT__KEY_FILE": "/etc/alexandria/audit key",
    "ALEXANDRIA_DSN": "postgresql://app:swordfish@db/alexandria",
}
OVERLAYS = ("overlays/site", "overlays/aws", "overlays/gcp", "overlays/azure", "restore")
Object = dict[str, Any]


def written(folder: Path, kind: str, settings: dict[str, str]) -> tuple[int, Path]:
    out = folder / "out"
    with surroundings(folder, settings):
        return invoke(["manifests", kind, "--out", str(out)]), out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code, out = written(tmp_path_factory.mktemp("manifests"), "kubernetes", SETTINGS)
    assert code == 0
    return out


@pytest.fixture(scope="module")
def rendered(cluster: Path) -> dict[str, list[Object]]:
    found = {}
    for overlay in OVERLAYS:
        ended = subprocess.run(
            ["kubectl", "kustomize", str(cluster / overlay)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        found[overlay] = list(yaml.safe_load_all(ended.stdout))
    return found


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Yield the jobs, and the pods that they make."""
    for found in objects:
        if found["kind"] == "CronJob":
            job = found["spec"]["jobTemplate"]["spec"]
            yield job, job["template"]["spec"]
        elif found["kind"] == "Job":
            yield found["spec"], found["spec"]["template"]["spec"]


def hook(cluster: Path) -> Object:
    found: Object = yaml.safe_load((cluster / "examples/helm-pre-upgrade.yaml").read_text())
    return found


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_the_schemas_of_kubernetes(
    rendered: dict[str, list[Object]], overlay: str
) -> None:
    for found in rendered[overlay]:
        kubernetes_validate.validate(found, "1.37", strict=True)
    names = {(found["kind"], found["metadata"]["name"]) for found in rendered[overlay]}
    assert len(names) == len(rendered[overlay])
    namespaced = {found["metadata"].get("namespace") for found in rendered[overlay]}
    assert namespaced == {"llm"}


def test_the_example_of_a_hook_fits_the_schemas(cluster: Path) -> None:
    kubernetes_validate.validate(hook(cluster), "1.37", strict=True)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted(
    rendered: dict[str, list[Object]], cluster: Path, overlay: str
) -> None:
    """What the restricted Pod Security Standard asks for, and a root file system that is read."""
    found = list(pods([*rendered[overlay], hook(cluster)]))
    assert found
    for job, pod in found:
        assert job["backoffLimit"] == 0
        assert pod["restartPolicy"] == "Never"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
        assert all({"secret", "emptyDir"} & set(volume) for volume in pod["volumes"])


@needs_kubectl
def test_the_dsn_is_a_mounted_file_and_in_no_variable(
    rendered: dict[str, list[Object]],
) -> None:
    for _, pod in pods(rendered["overlays/site"]):
        (container,) = pod["containers"]
        given = {item["name"]: item["value"] for item in container["env"]}
        assert given["ALEXANDRIA_DATABASE__DSN_FILE"] == "/run/secrets/alexandria/dsn"
        secret = next(v["secret"] for v in pod["volumes"] if v["name"] == "dsn")
        assert secret["secretName"] == "my-secret"
        assert secret["items"] == [{"key": "database-dsn", "path": "dsn"}]


@needs_kubectl
def test_a_snapshot_has_no_right_and_no_token(rendered: dict[str, list[Object]]) -> None:
    kinds = {found["kind"] for found in rendered["overlays/site"]}
    assert kinds == {"ServiceAccount", "CronJob", "ConfigMap", "NetworkPolicy"}
    for _, pod in pods(rendered["overlays/site"]):
        assert pod["automountServiceAccountToken"] is False


@needs_kubectl
def test_a_snapshot_with_warnings_is_not_taken_twice(rendered: dict[str, list[Object]]) -> None:
    for job, _ in pods(rendered["overlays/site"]):
        first = job["podFailurePolicy"]["rules"][0]
        assert (first["action"], first["onExitCodes"]["values"]) == ("FailJob", [3, 30, 31])


@needs_kubectl
def test_the_settings_arrive_as_they_are(rendered: dict[str, list[Object]]) -> None:
    (config,) = [o for o in rendered["overlays/site"] if o["kind"] == "ConfigMap"]
    data = config["data"]
    assert data["ALEXANDRIA_REPOSITORY"] == "s3://bucket/alexandria"
    assert json.loads(data["ALEXANDRIA_APPLICATION__CHECKS"]) == ["select 'it''s \"good\"' <> ''"]
    assert json.loads(data["ALEXANDRIA_KUBERNETES__WORKLOADS"]) == [
        "deployment/alexandria-api",
        "statefulset/worker",
    ]
    assert "ALEXANDRIA_DSN" not in data


@needs_kubectl
def test_a_drill_has_a_server_and_room_for_it(rendered: dict[str, list[Object]]) -> None:
    objects = rendered["overlays/site"]
    (config,) = [found for found in objects if found["kind"] == "ConfigMap"]
    assert json.loads(config["data"]["ALEXANDRIA_DRILL__CHECKS"]) == {"recent": "select 'a' < 'b'"}
    # The folder of the machine that wrote this is none of a pod's.
    assert "ALEXANDRIA_DRILL__FOLDER" not in config["data"]
    (job,) = [found for found in objects if found["metadata"]["name"] == "alexandria-drill"]
    ((_, pod),) = pods([job])
    (container,) = pod["containers"]
    assert container["image"] == "localhost/alexandria-backup:latest-drill"
    given = {item["name"]: item["value"] for item in container["env"]}
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    volume = mounts[given["ALEXANDRIA_DRILL__FOLDER"]]
    assert {"name": volume, "emptyDir": {}} in pod["volumes"]


def test_the_image_of_drills_is_the_one_that_its_container_file_makes(cluster: Path) -> None:
    text = (cluster / "Containerfile.drill").read_text()
    assert "FROM localhost/alexandria-backup:latest\n" in text
    assert "--tag localhost/alexandria-backup:latest-drill " in text


@needs_kubectl
def test_keys_are_mounted_where_the_settings_of_a_pod_name_them(
    rendered: dict[str, list[Object]],
) -> None:
    (config,) = [o for o in rendered["overlays/site"] if o["kind"] == "ConfigMap"]
    named = config["data"]["ALEXANDRIA_AUDIT__KEY_FILE"]
    for _, pod in pods(rendered["overlays/site"]):
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert named == f"{mounts['keys']}/audit.key_file"
        volume = next(v["secret"] for v in pod["volumes"] if v["name"] == "keys")
        assert volume["optional"] is True


def test_what_to_type_next_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with surroundings(tmp_path, SETTINGS):
        assert invoke(["manifests", "kubernetes", "--out", "m"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "kubectl create secret generic alexandria-backup-keys --namespace llm "
        "'--from-file=audit.key_file=/etc/alexandria/audit key'",
        "kubectl apply --kustomize m/overlays/site",
    ]


def test_no_secret_is_in_any_file(cluster: Path) -> None:
    texts = [path.read_text() for path in cluster.rglob("*") if path.is_file()]
    assert len(texts) > 10
    assert not [text for text in texts if "swordfish" in text]


@needs_kubectl
def test_a_restore_may_change_only_what_is_named(rendered: dict[str, list[Object]]) -> None:
    (role,) = [found for found in rendered["restore"] if found["kind"] == "Role"]
    rules = {rule["resources"][0]: rule for rule in role["rules"]}
    assert rules["deployments"]["resourceNames"] == ["alexandria-api"]
    assert rules["statefulsets"]["resourceNames"] == ["worker"]
    assert {tuple(rule["verbs"]) for rule in rules.values() if "resourceNames" in rule} == {
        ("get", "patch")
    }
    assert "secrets" not in rules
    (job,) = [found for found in rendered["restore"] if found["kind"] == "Job"]
    assert job["spec"]["suspend"] is True


@needs_kubectl
@pytest.mark.parametrize(
    ("overlay", "key"),
    [
        ("aws", "eks.amazonaws.com/role-arn"),
        ("gcp", "iam.gke.io/gcp-service-account"),
        ("azure", "azure.workload.identity/client-id"),
    ],
)
def test_each_cloud_has_its_identity(
    rendered: dict[str, list[Object]], overlay: str, key: str
) -> None:
    objects = rendered[f"overlays/{overlay}"]
    (account,) = [found for found in objects if found["kind"] == "ServiceAccount"]
    assert key in account["metadata"]["annotations"]


@needs_kubectl
def test_every_job_runs_a_command_that_there_is(
    rendered: dict[str, list[Object]], cluster: Path
) -> None:
    found = [*rendered["overlays/site"], *rendered["restore"], hook(cluster)]
    lines = [pod["containers"][0]["args"] for _, pod in pods(found)]
    assert len(lines) == 6
    for line in lines:
        parse(line)


@pytest.mark.parametrize("repository", ["", "/var/backups", "file:///var/backups"])
def test_a_pod_needs_a_repository_that_it_can_reach(
    tmp_path: Path, repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"ALEXANDRIA_REPOSITORY": repository} if repository else {}
    code, out = written(tmp_path, "kubernetes", settings)
    assert code == 2
    assert "the repository must be a URL" in capsys.readouterr().err
    assert not out.exists()


def test_nothing_is_overwritten(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = written(cluster.parent, "kubernetes", SETTINGS)
    assert code == 2
    assert "is not empty" in capsys.readouterr().err


def test_the_files_are_named_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with surroundings(tmp_path, SETTINGS):
        assert invoke(["manifests", "kubernetes", "--out", "m", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "m/base/snapshot.yaml" in result["result"]


# ── systemd ──────────────────────────────────────────────────────────────────────────────────────


def test_units_may_write_where_the_settings_say(tmp_path: Path) -> None:
    folders = {
        "ALEXANDRIA_REPOSITORY": "/var/backups/alexandria",
        "ALEXANDRIA_DRILL__FOLDER": "/srv/drills",
    }
    code, out = written(tmp_path, "systemd", folders)
    assert code == 0
    unit = (out / "alexandria-drill.service").read_text()
    assert "ReadWritePaths=/var/backups/alexandria -/srv/drills\n" in unit


@needs_analyze
def test_systemd_has_nothing_to_say_about_the_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The unit must name a program that is there.
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).parent / "alexandria")])
    repository = tmp_path / "snapshots"
    code, out = written(tmp_path, "systemd", {"ALEXANDRIA_REPOSITORY": str(repository)})
    assert code == 0
    units = sorted(out.iterdir())
    assert len(units) == 8
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
    )
    # Its exit code says nothing of what it has only warned of; other units of this machine may.
    assert [line for line in verified.stderr.splitlines() if "alexandria" in line] == []
    broken = out / "alexandria-broken.service"
    broken.write_text(units[0].read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    heard = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(broken)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NoNewPrivilege" in heard.stderr
    assert f"ReadWritePaths={repository}" in units[0].read_text()


@pytest.mark.parametrize(
    "key", [key for key, field in fields() if "Secret" in str(field.annotation)]
)
def test_no_setting_that_is_a_secret_is_written(tmp_path: Path, key: str) -> None:
    settings = {name: text for name, text in SETTINGS.items() if "AUDIT" not in name}
    code, out = written(tmp_path, "kubernetes", {**settings, variable_of(key): "p4ssw0rd-of-all"})
    assert code == 0
    files = [path for path in out.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if "p4ssw0rd-of-all" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ALEXANDRIA_APPLICATION__URL", "https://probe:p4ssw0rd@api:8443"),
        ("ALEXANDRIA_REPOSITORY", "s3://key:p4ssw0rd@bucket/alexandria"),
        ("ALEXANDRIA_APPLICATION__STOP_COMMAND", "curl https://u:p4ssw0rd@api/stop"),
        ("ALEXANDRIA_DRILL__CHECKS", "{\"a\": \"SELECT dblink('password=p4ssw0rd', '')\"}"),
    ],
)
def test_a_password_in_any_other_setting_is_refused(
    tmp_path: Path, variable: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = written(tmp_path, "kubernetes", {**SETTINGS, variable: text})
    assert code == 2
    assert not out.exists()
    said = capsys.readouterr().err
    assert "holds a password" in said
    assert "p4ssw0rd" not in said


def test_keys_that_were_rotated_are_mounted_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [
        {"name": "first", "file": "/etc/keys/one", "until": "2026-01-01T00:00:00Z"},
        {"name": "second", "file": "/etc/keys/two", "since": "2026-01-01T00:00:00Z"},
    ]
    settings = {name: text for name, text in SETTINGS.items() if "AUDIT" not in name}
    variable = "ALEXANDRIA_AUDIT__KEYS"
    code, out = written(tmp_path, "kubernetes", {**settings, variable: json.dumps(keys)})
    assert code == 0
    said = capsys.readouterr()
    for key in keys:
        assert f"--from-file=audit.keys.{key['name']}={key['file']}" in said.out + said.err
    text = (out / "overlays/site/kustomization.yaml").read_text(encoding="utf-8")
    (literal,) = [
        one
        for found in yaml.safe_load(text)["configMapGenerator"]
        for one in found["literals"]
        if one.startswith(variable)
    ]
    mounted = json.loads(literal.partition("=")[2])
    assert [Path(key["file"]).name for key in mounted] == ["audit.keys.first", "audit.keys.second"]
    assert [key.get("until") for key in mounted] == ["2026-01-01T00:00:00Z", None]
    # A pod reads them as they are.
    AuditSettings(keys=json.dumps(mounted))
