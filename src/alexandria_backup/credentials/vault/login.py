"""How this program proves to Vault who it is: a token, a pod's account, or an AppRole."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from alexandria_backup.cluster.access import SERVICE_ACCOUNT
from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.secret import Secret


class Login(Protocol):
    """One way to get a token."""

    def token(self, client: Any) -> Secret:  # noqa: ANN401 - hvac has no types
        """Return a token; raises CredentialsNotFound, or what hvac raises."""
        ...


@dataclass(frozen=True, kw_only=True)
class TokenLogin:
    """A token that is there already: in the file that was named, a variable, or `~/.vault-token`.

    The file is read at each login, since an agent renews it.
    """

    #: The file that was named; None where none was.
    file: Path | None
    environ: Mapping[str, str]

    def token(self, client: Any) -> Secret:  # noqa: ANN401, ARG002 - the port's form
        """Read it."""
        if self.file is None:
            for variable in ("VAULT_TOKEN", "BAO_TOKEN"):
                if self.environ.get(variable):
                    return Secret(self.environ[variable].strip())
            home = self.environ.get("HOME")
            files = [Path(home) / name for name in (".vault-token", ".bao-token")] if home else []
            found = next((file for file in files if file.is_file()), None)
            if found is None:
                raise CredentialsNotFound(
                    "there is no token for Vault: no `VAULT_TOKEN`, no `~/.vault-token`",
                    hint="vault login   # or set `[vault] token_file` or `[vault] auth`",
                )
            return read_secret_file(found)
        return read_secret_file(self.file)


@dataclass(frozen=True, kw_only=True)
class KubernetesLogin:
    """The token of the pod's service account, for Vault's Kubernetes auth method."""

    role: str
    mount: str = "kubernetes"
    token_file: Path = SERVICE_ACCOUNT / "token"

    def token(self, client: Any) -> Secret:  # noqa: ANN401 - hvac has no types
        """Exchange it for a token of Vault's."""
        answer = client.auth.kubernetes.login(
            role=self.role,
            jwt=read_secret_file(self.token_file).reveal(),
            mount_point=self.mount,
        )
        return _issued(answer)


@dataclass(frozen=True, kw_only=True)
class AppRoleLogin:
    """A role id and a secret id, each in a file of its own."""

    role_id_file: Path
    secret_id_file: Path | None
    mount: str = "approle"

    def token(self, client: Any) -> Secret:  # noqa: ANN401 - hvac has no types
        """Exchange them for a token of Vault's."""
        secret = self.secret_id_file
        answer = client.auth.approle.login(
            role_id=read_secret_file(self.role_id_file).reveal(),
            secret_id=read_secret_file(secret).reveal() if secret else None,
            mount_point=self.mount,
        )
        return _issued(answer)


def read_secret_file(path: Path) -> Secret:
    """Return a file's text without white space around it; raises CredentialsNotFound."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CredentialsNotFound(f"`{path}` cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CredentialsNotFound(f"`{path}` is not UTF-8 text") from None
    if not text:
        raise CredentialsNotFound(f"`{path}` is empty")
    return Secret(text)


def _issued(answer: object) -> Secret:
    auth = answer.get("auth") if isinstance(answer, Mapping) else None
    token = auth.get("client_token") if isinstance(auth, Mapping) else None
    if not isinstance(token, str) or not token:
        raise CredentialsNotFound("Vault has answered the login without a token")
    return Secret(token)
