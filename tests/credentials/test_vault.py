import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_vault_support import TOKEN, FakeVault, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_blocker_support import without

from alexandria_backup.credentials.vault.login import (
    AppRoleLogin,
    KubernetesLogin,
    TokenLogin,
)
from alexandria_backup.credentials.vault.source import VaultPlace, VaultSource
from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.events import Event

DSN = "postgresql://app:swordfish@db.example/alexandria"
PATH = "alexandria/llm"


@pytest.fixture
def vault() -> FakeVault:
    vault = FakeVault()
    vault.put(PATH, database_dsn=DSN)
    return vault


@pytest.fixture
def source(vault: FakeVault) -> Iterator[VaultSource]:
    events: list[Event] = []
    with serving(vault) as address:
        yield VaultSource(
            enabled=True,
            place=VaultPlace(address=address, timeout_s=5),
            login=TokenLogin(file=None, environ={"VAULT_TOKEN": TOKEN}),
            emit=events.append,
        )


def placed(source: VaultSource, **changes: object) -> VaultSource:
    return replace(source, place=replace(source.place, **changes))  # type: ignore[arg-type]


def refused(source: VaultSource) -> CredentialsNotFound:
    with pytest.raises(CredentialsNotFound) as caught:
        source.find()
    shown = f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert "swordfish" not in shown
    assert TOKEN not in shown
    return caught.value


def test_the_dsn_is_the_field_at_the_end_of_prefix_and_key(
    source: VaultSource, vault: FakeVault
) -> None:
    assert source.find().reveal() == DSN
    assert vault.asked == ["GET /v1/secret/data/alexandria/llm"]
    assert source.name == "Vault's `secret/alexandria/llm`, field `database-dsn`"


@pytest.mark.parametrize("prefix", ["alexandria/llm", "alexandria/llm/", "/alexandria/llm/"])
def test_slashes_around_the_prefix_do_not_matter(source: VaultSource, prefix: str) -> None:
    assert placed(source, prefix=prefix).find().reveal() == DSN


def test_mount_prefix_and_key_are_settings(source: VaultSource, vault: FakeVault) -> None:
    vault.mount = "kv-prod"
    vault.put("teams/llm/postgres", url=DSN)
    found = placed(source, mount="kv-prod", prefix="teams/llm/", key="postgres/url").find()
    assert found.reveal() == DSN


def test_the_newest_version_is_read(source: VaultSource, vault: FakeVault) -> None:
    vault.put(PATH, database_dsn="postgresql://new/d\n")
    assert source.find().reveal() == "postgresql://new/d"


def test_a_namespace_goes_along(source: VaultSource, vault: FakeVault) -> None:
    vault.namespace = "platform"
    assert "no secret" in refused(source).message
    assert placed(source, namespace="platform").find().reveal() == DSN


def test_a_missing_field_lists_the_names_and_never_the_values(
    source: VaultSource, vault: FakeVault
) -> None:
    vault.put(PATH, url=DSN, license="swordfish")
    assert "its fields: `license`, `url`" in refused(source).message


def test_a_missing_secret_names_what_is_below(source: VaultSource, vault: FakeVault) -> None:
    vault.put("alexandria/llm/postgres", url=DSN)
    del vault.secrets[PATH]
    assert "there is no secret `alexandria/llm`" in refused(source).message
    assert "below it: `postgres`" in refused(source).message


def test_a_deleted_version_says_how_to_get_it_back(source: VaultSource, vault: FakeVault) -> None:
    vault.delete(PATH)
    error = refused(source)
    assert "version 1 of `secret/alexandria/llm` was deleted at 2026-11-24" in error.message
    assert error.hint == "vault kv undelete -mount=secret -versions=1 alexandria/llm"
    vault.delete(PATH, destroy=True)
    assert "was destroyed" in refused(source).message


def test_a_sealed_vault(source: VaultSource, vault: FakeVault) -> None:
    vault.sealed = True
    assert refused(source).hint == "vault operator unseal"


def test_an_expired_token_is_told_from_a_missing_policy(
    source: VaultSource, vault: FakeVault
) -> None:
    vault.tokens[TOKEN] = set()
    error = refused(source)
    assert "the token may not read `secret/data/alexandria/llm`" in error.message
    assert 'path "secret/data/alexandria/llm" { capabilities = ["read"] }' in (error.hint or "")
    del vault.tokens[TOKEN]
    assert "has expired, was revoked" in refused(source).message


def test_a_standby_leads_to_the_active_node_and_nowhere_else(
    source: VaultSource, vault: FakeVault
) -> None:
    standby = FakeVault()
    with serving(standby) as address:
        target = source.place.address + "/v1/secret/data/alexandria/llm"
        standby.fault = lambda _: (307, "text/plain", b"", {"Location": target})
        assert placed(source, address=address).find().reveal() == DSN
        standby.fault = lambda _: (302, "text/html", b"", {"Location": "http://login/?token=1"})
        assert "not as Vault does" in refused(placed(source, address=address)).message
        loop = address + "/v1/secret/data/alexandria/llm"
        standby.fault = lambda _: (307, "text/plain", b"", {"Location": loop})
        assert "not as Vault does" in refused(placed(source, address=address)).message


def test_a_standby_without_an_active_node(source: VaultSource, vault: FakeVault) -> None:
    said = "local node not active but active cluster node not found"
    body = json.dumps({"errors": [said]}).encode()
    vault.fault = lambda _: (500, "application/json", body, {})
    assert "is a standby, and there is no active node" in refused(source).message


def test_being_told_to_wait_is_heeded(source: VaultSource, vault: FakeVault) -> None:
    answers = [(429, "application/json", b"{}", {"Retry-After": "0"})] * 2
    vault.fault = lambda _: answers.pop() if answers else None
    assert source.find().reveal() == DSN
    assert len(vault.asked) == 3


def test_being_too_busy_for_good_is_told(source: VaultSource, vault: FakeVault) -> None:
    vault.fault = lambda _: (429, "application/json", b"{}", {"Retry-After": "0"})
    assert "too busy" in refused(source).message


@pytest.mark.parametrize("status", [200, 403, 502])
def test_a_page_of_a_proxy_is_not_vault(source: VaultSource, vault: FakeVault, status: int) -> None:
    vault.fault = lambda _: (status, "text/html", b"<html>swordfish</html>", {})
    refused(source)


def test_a_vault_that_is_away(source: VaultSource) -> None:
    assert "does not answer" in refused(placed(source, address="http://127.0.0.1:1")).message


def test_tls_needs_a_certificate_that_is_trusted(
    source: VaultSource, vault: FakeVault, certificate: Path
) -> None:
    with serving(vault, certificate) as address:
        assert "is not trusted" in refused(placed(source, address=address)).message
        assert placed(source, address=address, ca_file=certificate).find().reveal() == DSN


def test_a_pod_logs_in_with_its_account(
    source: VaultSource, vault: FakeVault, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("jwt-of-the-pod\n")
    vault.logins["kubernetes"] = {"role": "backup", "jwt": "jwt-of-the-pod"}
    login = KubernetesLogin(role="backup", token_file=token)
    assert replace(source, login=login).find().reveal() == DSN
    token.write_text("another")
    assert "refused the login" in refused(replace(source, login=login)).message
    token.unlink()
    assert "cannot be read" in refused(replace(source, login=login)).message


def test_an_approle_logs_in_with_two_files(
    source: VaultSource, vault: FakeVault, tmp_path: Path
) -> None:
    role, secret = tmp_path / "role-id", tmp_path / "secret-id"
    role.write_text("r")
    secret.write_text("s\n")
    vault.logins["ci"] = {"role_id": "r", "secret_id": "s"}
    login = AppRoleLogin(role_id_file=role, secret_id_file=secret, mount="ci")
    assert replace(source, login=login).find().reveal() == DSN
    vault.logins.clear()
    assert "refused the login" in refused(replace(source, login=login)).message


def test_a_token_is_in_a_file_a_variable_or_the_home(source: VaultSource, tmp_path: Path) -> None:
    def found(login: TokenLogin) -> str:
        return replace(source, login=login).find().reveal()

    named = tmp_path / "token"
    named.write_text(f"{TOKEN}\n")
    assert found(TokenLogin(file=named, environ={"VAULT_TOKEN": "no"})) == DSN
    assert found(TokenLogin(file=None, environ={"BAO_TOKEN": TOKEN})) == DSN
    (tmp_path / ".vault-token").write_text(TOKEN)
    assert found(TokenLogin(file=None, environ={"HOME": str(tmp_path)})) == DSN
    nobody = replace(source, login=TokenLogin(file=None, environ={}))
    assert "there is no token" in refused(nobody).message
    named.write_text("")
    assert "is empty" in refused(replace(source, login=TokenLogin(file=named, environ={}))).message


def test_without_the_extra_it_says_what_to_install(source: VaultSource) -> None:
    with without("hvac"):
        assert refused(source).hint == "pip install 'alexandria-backup[vault]'"


def test_a_netrc_is_not_sent(
    source: VaultSource, vault: FakeVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login u password p\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert source.find().reveal() == DSN
    assert vault.authorizations == [None]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("data", "metadata", "errors", "auth", "keys", "database-dsn", "version")
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=_JSON, status=st.sampled_from((200, 204, 400, 403, 404, 412, 473)))
def test_whatever_is_answered_is_a_dsn_or_one_of_our_errors(
    source: VaultSource, vault: FakeVault, body: object, status: int
) -> None:
    vault.fault = lambda _: (status, "application/json", json.dumps(body).encode(), {})
    with contextlib.suppress(CredentialsNotFound):
        assert source.find()
