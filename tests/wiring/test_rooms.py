"""Where the DSN is looked for, in which order, and where the search stops."""

from pathlib import Path

import pytest
from fake_kubernetes_api_support import Served
from fake_vault_support import TOKEN, FakeVault, serving
from site_support import surroundings

from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.credentials.source import FoundDsn
from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.events import discard
from alexandria_backup.wiring.wiring import Wiring

Environment = dict[str, str]
AUDIT_KEY = bytes(range(200, 232))


def found(
    folder: Path,
    environ: Environment,
    *,
    namespace: str | None = None,
    values: Path | None = None,
) -> FoundDsn:
    with surroundings(folder, environ):
        return Wiring.load(
            config=None,
            environ={"HOME": str(folder), **environ},
            cwd=folder,
            dsn_file=None,
            emit=discard,
            namespace=namespace,
            values=values,
        ).rooms.found_dsn


@pytest.fixture
def vault_values(tmp_path: Path) -> Path:
    values = tmp_path / "values.yaml"
    values.write_text("vault:\n  enabled: true\n")
    return values


def test_with_nothing_but_a_kubeconfig_it_is_the_paper_runbooks_secret(
    served: Served, tmp_path: Path
) -> None:
    served.cluster.secret("alexandria-ee", database_dsn=b"postgresql://u@h/cluster")
    assert found(tmp_path, {"KUBECONFIG": str(served.kubeconfig)}).dsn.database == "cluster"


def test_the_variable_goes_first_and_no_cluster_is_asked(served: Served, tmp_path: Path) -> None:
    environ = {"KUBECONFIG": str(served.kubeconfig), "ALEXANDRIA_DSN": "postgresql://u@h/mine"}
    assert found(tmp_path, environ).dsn.database == "mine"
    assert served.cluster.asked == []


def test_vault_goes_before_the_cluster_where_the_helm_values_enable_it(
    served: Served, tmp_path: Path, vault_values: Path
) -> None:
    served.cluster.secret("alexandria-ee", database_dsn=b"postgresql://u@h/cluster")
    vault = FakeVault()
    vault.put("alexandria/llm", database_dsn="postgresql://u@h/vaulted")
    with serving(vault) as address:
        environ = {
            "KUBECONFIG": str(served.kubeconfig),
            "VAULT_ADDR": address,
            "VAULT_TOKEN": TOKEN,
        }
        assert found(tmp_path, environ, values=vault_values).dsn.database == "vaulted"
        assert found(tmp_path, environ).dsn.database == "cluster"
        off = {**environ, "ALEXANDRIA_VAULT__ENABLED": "false"}
        assert found(tmp_path, off, values=vault_values).dsn.database == "cluster"


def test_a_vault_that_fails_does_not_lead_to_another_database(
    served: Served, tmp_path: Path, vault_values: Path
) -> None:
    served.cluster.secret("alexandria-ee", database_dsn=b"postgresql://u@h/cluster")
    vault = FakeVault(sealed=True)
    with serving(vault) as address:
        environ = {
            "KUBECONFIG": str(served.kubeconfig),
            "VAULT_ADDR": address,
            "VAULT_TOKEN": TOKEN,
        }
        with pytest.raises(CredentialsNotFound, match="sealed"):
            found(tmp_path, environ, values=vault_values)
    assert served.cluster.asked == []


def test_the_option_names_the_namespace(served: Served, tmp_path: Path) -> None:
    environ = {"KUBECONFIG": str(served.kubeconfig), "ALEXANDRIA_KUBERNETES__NAMESPACE": "no"}
    served.cluster.secret("alexandria-ee", database_dsn=b"postgresql://u@h/cluster")
    with pytest.raises(CredentialsNotFound, match="in namespace `no`"):
        found(tmp_path, environ)
    assert found(tmp_path, environ, namespace="llm").dsn.database == "cluster"


def test_without_any_of_it_all_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsNotFound) as caught:
        found(tmp_path, {})
    for place in ("--dsn-file", "ALEXANDRIA_DSN", "dsn_file", "Vault's", "Kubernetes Secret"):
        assert place in str(caught.value)


def audit_key_of(folder: Path, environ: Environment) -> AuditKey | KeyRing | None:
    with surroundings(folder, environ):
        told = {"HOME": str(folder), **environ}
        wiring = Wiring.load(config=None, environ=told, cwd=folder, dsn_file=None, emit=discard)
        return wiring.rooms.chain.key


@pytest.mark.parametrize("held", [AUDIT_KEY, AUDIT_KEY.hex().encode() + b"\n"])
def test_the_key_of_the_chain_is_in_a_secret_of_the_cluster(
    served: Served, tmp_path: Path, held: bytes
) -> None:
    served.cluster.secret("alexandria-ee", audit_key=held)
    environ = {
        "KUBECONFIG": str(served.kubeconfig),
        "ALEXANDRIA_AUDIT__KEY_SECRET": "alexandria-ee/audit-key",
    }
    key = audit_key_of(tmp_path, environ)
    assert isinstance(key, AuditKey)
    assert AUDIT_KEY in {value for _, value in key.reveal()}
    assert "`alexandria-ee`, key `audit-key`" in key.source
    environ["ALEXANDRIA_AUDIT__KEY_SECRET"] = "alexandria-ee/other"
    with pytest.raises(CredentialsNotFound, match="has no key `other`") as caught:
        audit_key_of(tmp_path, environ)
    assert caught.value.hint == "set `audit.key_secret`"


def test_the_key_of_the_chain_is_in_vault(tmp_path: Path) -> None:
    vault = FakeVault()
    vault.put("apps/chain", audit_key=AUDIT_KEY.hex())
    with serving(vault) as address:
        environ = {
            "VAULT_ADDR": address,
            "VAULT_TOKEN": TOKEN,
            "ALEXANDRIA_AUDIT__KEY_VAULT": "apps/chain/audit-key",
        }
        key = audit_key_of(tmp_path, environ)
        assert isinstance(key, AuditKey)
        assert AUDIT_KEY in {value for _, value in key.reveal()}
        environ["ALEXANDRIA_AUDIT__KEY_VAULT"] = "apps/chain/other"
        with pytest.raises(CredentialsNotFound, match="has no field `other`") as caught:
            audit_key_of(tmp_path, environ)
    assert caught.value.hint == "set `audit.key_vault`"
