"""Which platform runs the application, and where Vault is, by settings and by what is found."""

from pathlib import Path

import pytest
from fake_kubernetes_api_support import Served
from site_support import surroundings

from alexandria_backup.credentials.vault.login import AppRoleLogin, KubernetesLogin, TokenLogin
from alexandria_backup.credentials.vault.source import VaultPlace, VaultSource
from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.events import discard
from alexandria_backup.platforms.kubernetes.platform import KubernetesPlatform
from alexandria_backup.platforms.platform import Platform
from alexandria_backup.settings.loading import load
from alexandria_backup.settings.model import Settings
from alexandria_backup.wiring.outside import vault_source
from alexandria_backup.wiring.wiring import Wiring

_DSN = {"ALEXANDRIA_DSN": "postgresql://u@h/d"}


def platform(folder: Path, environ: dict[str, str]) -> Platform:
    with surroundings(folder, environ):
        wiring = Wiring.load(
            config=None,
            environ={"HOME": str(folder), **environ},
            cwd=folder,
            dsn_file=None,
            emit=discard,
        )
        return wiring.rooms.application.platform


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "unmanaged"),
        ({"KUBERNETES__WORKLOADS": "deployment/api"}, "kubernetes"),
        ({"SYSTEMD__UNITS": "api"}, "systemd"),
        ({"KUBERNETES__WORKLOADS": "api", "APPLICATION__STOP_COMMAND": "true"}, "unmanaged"),
        ({"APPLICATION__PLATFORM": "systemd", "APPLICATION__STOP_COMMAND": "true"}, "systemd"),
        ({"APPLICATION__PLATFORM": "unmanaged", "SYSTEMD__UNITS": "api"}, "unmanaged"),
        ({"APPLICATION__PLATFORM": "kubernetes"}, "kubernetes"),
    ],
)
def test_what_is_set_goes_before_what_is_found(
    tmp_path: Path, settings: dict[str, str], name: str
) -> None:
    given = {f"ALEXANDRIA_{key}": value for key, value in settings.items()}
    assert platform(tmp_path, {**_DSN, **given}).name == name


def test_an_application_whose_dsn_is_in_the_cluster_runs_there(
    served: Served, tmp_path: Path
) -> None:
    served.cluster.secret("alexandria-ee", database_dsn=b"postgresql://u@h/d")
    found = platform(tmp_path, {"KUBECONFIG": str(served.kubeconfig)})
    assert isinstance(found, KubernetesPlatform)
    assert found.selector == "app.kubernetes.io/instance=alexandria-ee"
    assert platform(tmp_path, {"KUBECONFIG": str(served.kubeconfig), **_DSN}).name == "unmanaged"


def test_a_unit_of_this_user_is_found(tmp_path: Path) -> None:
    units = tmp_path / "config" / "systemd" / "user"
    units.mkdir(parents=True)
    environ = {
        **_DSN,
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "ALEXANDRIA_SYSTEMD__USER": "true",
    }
    assert platform(tmp_path, environ).name == "unmanaged"
    (units / "alexandria-api.service").touch()
    assert platform(tmp_path, environ).name == "systemd"


# ── Vault ────────────────────────────────────────────────────────────────────────────────────────


def settings(folder: Path, **given: str) -> Settings:
    environ = {f"ALEXANDRIA_VAULT__{key}": value for key, value in given.items()}
    return load(config=None, environ={"HOME": str(folder), **environ}, cwd=folder).settings


def vault(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], **given: str
) -> VaultSource:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return vault_source(settings(folder, **given).vault, None, discard)


def test_without_settings_it_is_the_paper_runbooks_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = vault(tmp_path, monkeypatch, {})
    assert not found.configured()
    assert found.place == VaultPlace(address="https://127.0.0.1:8200")
    assert (found.place.path, found.place.field) == ("alexandria/llm", "database-dsn")


@pytest.mark.parametrize("kind", ["VAULT", "BAO"])
def test_the_usual_variables_are_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    environ = {
        f"{kind}_ADDR": "https://vault.example",
        f"{kind}_NAMESPACE": "team",
        f"{kind}_CACERT": "/etc/ca.pem",
    }
    place = vault(tmp_path, monkeypatch, environ).place
    assert (place.address, place.namespace, place.ca_file) == (
        "https://vault.example",
        "team",
        Path("/etc/ca.pem"),
    )
    given = vault(tmp_path, monkeypatch, environ, ADDRESS="https://mine", NAMESPACE="own").place
    assert (given.address, given.namespace) == ("https://mine", "own")


def test_settings_go_before_helm_values(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("vault: {enabled: true, prefix: a/b/, mount: kv, key: url}\n")
    told = vault_source(settings(tmp_path).vault, values, discard)
    assert told.configured()
    assert (told.place.mount, told.place.path, told.place.field) == ("kv", "a/b", "url")
    set_here = vault_source(settings(tmp_path, PREFIX="c/", MOUNT="own").vault, values, discard)
    assert (set_here.place.mount, set_here.place.path) == ("own", "c")


def test_three_ways_to_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(vault(tmp_path, monkeypatch, {}).login, TokenLogin)
    pod = vault(tmp_path, monkeypatch, {}, AUTH="kubernetes", ROLE="r", AUTH_MOUNT="k8s").login
    assert pod == KubernetesLogin(role="r", mount="k8s")
    role = vault(tmp_path, monkeypatch, {}, AUTH="approle", ROLE_ID_FILE="/r").login
    assert role == AppRoleLogin(role_id_file=Path("/r"), secret_id_file=None)
    with pytest.raises(SettingsInvalid, match="needs `role_id_file`"):
        vault(tmp_path, monkeypatch, {}, AUTH="approle")


@pytest.mark.parametrize("address", ["vault.example", "ftp://x", "https://user:swordfish@x"])
def test_an_address_that_is_none_is_refused_and_not_quoted(tmp_path: Path, address: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        settings(tmp_path, ADDRESS=address)
    assert "swordfish" not in str(caught.value)
