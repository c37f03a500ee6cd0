"""What Vault answered, in one sentence, with a command to type. Values are never quoted."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alexandria_backup.errors import CredentialsNotFound

if TYPE_CHECKING:
    from alexandria_backup.credentials.vault.source import VaultPlace


def explained(error: Exception, client: Any, place: "VaultPlace") -> CredentialsNotFound:  # noqa: ANN401, PLR0911 - one case per error; hvac has no types
    """Translate what hvac or its HTTP library raised."""
    said = " ".join(str(item) for item in getattr(error, "errors", None) or ())
    match type(error).__name__:
        case "Forbidden" | "Unauthorized":
            return _forbidden(client, place)
        case "InvalidPath":
            return _missing(error, client, place)
        case "InvalidRequest":
            return CredentialsNotFound(
                "Vault has refused the login or the request as malformed",
                hint="check `[vault] auth`, its role, and `[vault] mount`",
            )
        case "VaultDown" if "sealed" in said.lower():
            return CredentialsNotFound(
                f"Vault at `{place.address}` is sealed", hint="vault operator unseal"
            )
        case "VaultNotInitialized":
            return CredentialsNotFound(f"Vault at `{place.address}` is not initialised")
        case "InternalServerError" if "standby" in said or "not active" in said:
            return CredentialsNotFound(
                f"Vault at `{place.address}` is a standby, and there is no active node",
                hint="vault operator raft list-peers",
            )
        case "RateLimitExceeded":
            return CredentialsNotFound(f"Vault at `{place.address}` is too busy: it answers 429")
        case "SSLError":
            return CredentialsNotFound(
                f"the certificate of `{place.address}` is not trusted",
                hint="set `[vault] ca_file`",
            )
        case kind:
            return CredentialsNotFound(
                f"Vault at `{place.address}` does not answer as it should ({kind})",
                hint="vault status",
            )


def _forbidden(client: Any, place: "VaultPlace") -> CredentialsNotFound:  # noqa: ANN401 - no types
    """Tell a token that is no good from one that may not read this."""
    if not client.token:
        return CredentialsNotFound(
            "Vault has refused the login", hint="check `[vault] auth` and its role"
        )
    try:
        client.auth.token.lookup_self()
    except Exception:  # noqa: BLE001 - whatever it is, the token does not work
        return CredentialsNotFound(
            "Vault does not accept the token: it has expired, was revoked, or is another Vault's",
            hint="vault login",
        )
    rule = f'path "{place.mount}/data/{place.path}" {{ capabilities = ["read"] }}'
    return CredentialsNotFound(
        f"the token may not read `{place.mount}/data/{place.path}`",
        hint=f"echo {shlex.quote(rule)} | vault policy write alexandria-backup -",
    )


def _missing(error: Exception, client: Any, place: "VaultPlace") -> CredentialsNotFound:  # noqa: ANN401 - no types
    document = getattr(error, "json", None)
    data = document.get("data") if isinstance(document, Mapping) else None
    told = data.get("metadata") if isinstance(data, Mapping) else None
    if isinstance(told, Mapping):
        version = told.get("version")
        if told.get("destroyed"):
            return CredentialsNotFound(
                f"version {version} of `{place.mount}/{place.path}` was destroyed",
                hint=place.command("rollback", "-version=N"),
            )
        return CredentialsNotFound(
            f"version {version} of `{place.mount}/{place.path}` was deleted "
            f"at {told.get('deletion_time')}",
            hint=place.command("undelete", f"-versions={version}"),
        )
    below = _names_below(client, place)
    found = f"; below it: {below}" if below else ""
    return CredentialsNotFound(
        f"there is no secret `{place.path}` in the key-value store `{place.mount}`{found}",
        hint="check `[vault] mount`, `prefix` and `key`; the store must be of version 2",
    )


def _names_below(client: Any, place: "VaultPlace") -> str:  # noqa: ANN401 - no types
    """Return the names of secrets in the folder of this path, where we may list them."""
    try:
        found = client.secrets.kv.v2.list_secrets(path=place.path, mount_point=place.mount)
        names = found["data"]["keys"]
    except Exception:  # noqa: BLE001 - only to say more
        return ""
    return ", ".join(f"`{name}`" for name in sorted(names))
