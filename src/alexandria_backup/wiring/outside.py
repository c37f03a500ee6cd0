"""The cluster and Vault, as settings, options and the usual variables name them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.cluster.access import ClusterPlace
from alexandria_backup.cluster.cluster import Cluster
from alexandria_backup.credentials.helm_values import HelmVault, read_helm_values
from alexandria_backup.credentials.kubernetes import KubernetesSecretSource
from alexandria_backup.credentials.vault.login import (
    AppRoleLogin,
    KubernetesLogin,
    Login,
    TokenLogin,
)
from alexandria_backup.credentials.vault.source import VaultPlace, VaultSource
from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.events import Emit
from alexandria_backup.settings.model import Settings
from alexandria_backup.settings.outside import KubernetesSettings, VaultSettings
from alexandria_backup.settings.types import VaultAuth


def cluster(settings: KubernetesSettings, namespace: str | None) -> Cluster:
    """Return the cluster; nothing is read or asked yet."""
    return Cluster(
        place=ClusterPlace(
            kubeconfig=settings.kubeconfig,
            context=settings.context,
            namespace=namespace or settings.namespace,
        ),
        timeout_s=settings.timeout_s,
    )


def secret_source(
    settings: KubernetesSettings, found: Cluster, emit: Emit, *, named: bool
) -> KubernetesSecretSource:
    """Return the Secret; one that the settings name must be there, whatever else is."""
    return KubernetesSecretSource(
        cluster=found,
        secret=settings.secret,
        key=settings.key,
        named=named or bool({"secret", "key"} & settings.model_fields_set),
        emit=emit,
    )


def vault_source(settings: VaultSettings, values: Path | None, emit: Emit) -> VaultSource:
    """Return Vault; what the settings leave open, the Helm values say."""
    told = read_helm_values(values) if values else HelmVault()
    environ = os.environ
    usual = VaultPlace(address="https://127.0.0.1:8200")
    certificates = settings.ca_file or _path(environ, "VAULT_CACERT", "BAO_CACERT")
    return VaultSource(
        enabled=bool(told.enabled if settings.enabled is None else settings.enabled),
        place=VaultPlace(
            address=settings.address
            or told.address
            or _named(environ, "VAULT_ADDR", "BAO_ADDR")
            or usual.address,
            namespace=settings.namespace or _named(environ, "VAULT_NAMESPACE", "BAO_NAMESPACE"),
            ca_file=certificates,
            mount=settings.mount or told.mount or usual.mount,
            prefix=told.prefix or usual.prefix if settings.prefix is None else settings.prefix,
            key=settings.key or told.key or usual.key,
            timeout_s=settings.timeout_s,
        ),
        login=_login(settings, environ),
        emit=emit,
    )


def audit_key(
    settings: Settings, find_cluster: Callable[[], Cluster], values: Path | None, emit: Emit
) -> AuditKey | KeyRing | None:
    """Return the key of the audit chain, from wherever the settings say; None where they do not.

    Raises CredentialsNotFound and WrongKey.
    """
    audit = settings.audit
    if audit.key_secret is not None:
        secret, _, key = audit.key_secret.partition("/")
        held = KubernetesSecretSource(
            cluster=find_cluster(),
            secret=secret,
            key=key,
            named=True,
            emit=emit,
            setting="audit.key_secret",
            otherwise="export ALEXANDRIA_AUDIT__KEY_FILE=…   # to do without the cluster",
        )
        return AuditKey.of_data(held.read(), audit.key_encoding, source=held.name)
    if audit.key_vault is not None:
        vault = vault_source(settings.vault, values, emit)
        place = replace(vault.place, prefix="", key=audit.key_vault)
        stored = replace(vault, place=place, setting="audit.key_vault")
        return AuditKey.given(stored.find(), audit.key_encoding, source=stored.name)
    return audit.loaded_key()


def _login(settings: VaultSettings, environ: Mapping[str, str]) -> Login:
    match settings.auth:
        case VaultAuth.KUBERNETES:
            return KubernetesLogin(role=settings.role, mount=settings.auth_mount or "kubernetes")
        case VaultAuth.APPROLE:
            if settings.role_id_file is None:
                raise SettingsInvalid(
                    "`[vault] auth = approle` needs `role_id_file`",
                    hint="export ALEXANDRIA_VAULT__ROLE_ID_FILE=…",
                )
            return AppRoleLogin(
                role_id_file=settings.role_id_file,
                secret_id_file=settings.secret_id_file,
                mount=settings.auth_mount or "approle",
            )
        case VaultAuth.TOKEN:
            return TokenLogin(file=settings.token_file, environ=environ)


def _named(environ: Mapping[str, str], *names: str) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _path(environ: Mapping[str, str], *names: str) -> Path | None:
    found = _named(environ, *names)
    return Path(found) if found else None
