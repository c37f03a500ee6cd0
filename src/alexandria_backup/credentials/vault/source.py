"""A DSN in the key-value store (version 2) of Vault or OpenBao.

`prefix` and `key` together are a path whose last part is the field: with `alexandria/llm/` and
`database-dsn`, what is read is field `database-dsn` of the secret `alexandria/llm`, as by
`vault kv get -mount=secret -field=database-dsn alexandria/llm`.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from alexandria_backup.credentials.dsn_text import secret_text
from alexandria_backup.credentials.vault.answers import explained
from alexandria_backup.credentials.vault.login import Login
from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.events import Emit
from alexandria_backup.secret import Secret

#: How often a call is repeated that got no answer, or was told to wait.
_RETRIES = 4
#: The longest `Retry-After` that is obeyed, in seconds.
_LONGEST_WAIT_S = 30
_PASSING = (429, 500, 502, 504)


@dataclass(frozen=True, kw_only=True)
class VaultPlace:
    """Where in which Vault the DSN is."""

    address: str
    #: Of Vault Enterprise or OpenBao; None where there are none.
    namespace: str | None = None
    ca_file: Path | None = None
    mount: str = "secret"
    prefix: str = "alexandria/llm/"
    key: str = "database-dsn"
    timeout_s: float = 10.0

    @property
    def path(self) -> str:
        """The path of the secret below its mount."""
        return f"{self.prefix.rstrip('/')}/{self.key}".rpartition("/")[0].strip("/")

    @property
    def field(self) -> str:
        """The field of the secret."""
        return self.key.rpartition("/")[2]

    def command(self, verb: str, *words: str) -> str:
        """Return a `vault kv` command about the secret."""
        return shlex.join(("vault", "kv", verb, f"-mount={self.mount}", *words, self.path))


@dataclass(frozen=True, kw_only=True)
class VaultSource:
    """One field of one secret."""

    #: `vault.enabled` of the settings or of a Helm values file.
    enabled: bool
    place: VaultPlace
    login: Login
    emit: Emit
    #: The setting that names the field.
    setting: str = "[vault] key"

    @property
    def name(self) -> str:
        """Name the secret and the field."""
        return f"Vault's `{self.place.mount}/{self.place.path}`, field `{self.place.field}`"

    def configured(self) -> bool:
        """Tell whether Vault is enabled."""
        return self.enabled

    def find(self) -> Secret:
        """Log in and read it."""
        hvac = _library()
        try:
            answer = self._read(hvac, self.place.address)
        except CredentialsNotFound as error:
            raise CredentialsNotFound(f"{self.name}: {error.message}", hint=error.hint) from None
        data = answer.get("data") if isinstance(answer, Mapping) else None
        fields = data.get("data") if isinstance(data, Mapping) else None
        return self._field(fields if isinstance(fields, Mapping) else {})

    def _read(self, hvac: ModuleType, address: str, *, redirected: bool = False) -> object:
        with _session(self.place) as session:
            client = hvac.Client(
                url=address,
                token="",
                namespace=self.place.namespace,
                timeout=self.place.timeout_s,
                # The token is in a header that would go along to wherever a redirect leads.
                allow_redirects=False,
                session=session,
            )
            try:
                token = self.login.token(client)
                client.token = token.reveal()
                answer = client.secrets.kv.v2.read_secret_version(
                    path=self.place.path,
                    mount_point=self.place.mount,
                    raise_on_deleted_version=True,
                )
            except CredentialsNotFound:
                raise
            except Exception as error:  # noqa: BLE001 - translated by kind, unknown ones too
                raise explained(error, client, self.place) from None
        if isinstance(answer, Mapping):
            return answer
        return self._elsewhere(hvac, answer, redirected=redirected)

    def _elsewhere(self, hvac: ModuleType, answer: Any, *, redirected: bool) -> object:  # noqa: ANN401
        """Follow a standby's redirect to the active node, once and never to plain HTTP."""
        # hvac returns what is JSON as it is, and else the HTTP library's answer.
        target = urlsplit(getattr(answer, "headers", {}).get("location", ""))
        secure = target.scheme == "https" or self.place.address.startswith("http://")
        if redirected or not target.netloc or not secure or not target.path.startswith("/v1/"):
            raise CredentialsNotFound(
                f"`{self.place.address}` answers {getattr(answer, 'status_code', 200)}, and not as "
                "Vault does: it may be a proxy or a login page",
                hint="check `[vault] address`",
            )
        return self._read(hvac, f"{target.scheme}://{target.netloc}", redirected=True)

    def _field(self, fields: Mapping[str, object]) -> Secret:
        place = self.place
        value = fields.get(place.field)
        if value is None:
            there = ", ".join(f"`{name}`" for name in sorted(fields)) or "none"
            raise CredentialsNotFound(
                f"Vault's `{place.mount}/{place.path}` has no field `{place.field}`; "
                f"its fields: {there}",
                hint=f"set `{self.setting}`",
            )
        text = value if isinstance(value, str) else json.dumps(value)
        mend = place.command("patch") + f" {shlex.quote(place.field)}=@FILE"
        return secret_text(text.encode(), self.name, self.emit, mend=mend)


def _library() -> ModuleType:
    try:
        return import_module("hvac")
    except ImportError:
        raise CredentialsNotFound(
            "to read from Vault, this program needs its extra `vault`",
            hint="pip install 'alexandria-backup[vault]'",
        ) from None


def _session(place: VaultPlace) -> Any:  # noqa: ANN401 - hvac's own library, untyped here
    """Return a session that waits as it is told to, and sends nothing out of a `.netrc`."""
    requests = import_module("requests")
    session = requests.Session()
    session.auth = lambda request: request
    session.verify = str(place.ca_file) if place.ca_file else True
    retry = import_module("urllib3.util").Retry(
        total=_RETRIES,
        # A certificate that is not trusted will not be by waiting.
        other=0,
        backoff_factor=0.2,
        status_forcelist=_PASSING,
        allowed_methods=None,
        raise_on_status=False,
        retry_after_max=_LONGEST_WAIT_S,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
    return session
