"""Vault's HTTP API in this process: KV version 2, three ways to log in, and its failures."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from web_server_support import Handler, running

TOKEN = "s.the-token-of-the-test"
Version = dict[str, Any]
_DATA = re.compile(r"/v1/(?P<mount>[^/]+)/data/(?P<path>.+)")
_METADATA = re.compile(r"/v1/(?P<mount>[^/]+)/metadata/(?P<path>.*)")
_LOGIN = re.compile(r"/v1/auth/(?P<mount>[^/]+)/login")


@dataclass(kw_only=True)
class FakeVault:
    """The secrets of one mount, and who may read them."""

    mount: str = "secret"
    #: Path → versions, oldest first.
    secrets: dict[str, list[Version]] = field(default_factory=dict)
    #: Tokens that are good, and the paths each may read.
    tokens: dict[str, set[str]] = field(default_factory=dict)
    #: The body of a login that is accepted, by the mount of the auth method.
    logins: dict[str, dict[str, str]] = field(default_factory=dict)
    sealed: bool = False
    namespace: str | None = None
    #: Called before each request; may return an answer to give instead.
    fault: Callable[[str], tuple[int, str, bytes, dict[str, str]] | None] = lambda _: None
    asked: list[str] = field(default_factory=list)
    #: The `Authorization` header of each request: Vault needs none.
    authorizations: list[str | None] = field(default_factory=list)

    def put(self, path: str, **fields: str) -> None:
        data = {key.replace("_", "-"): value for key, value in fields.items()}
        versions = self.secrets.setdefault(path, [])
        metadata = {
            "version": len(versions) + 1,
            "created_time": "2026-11-23T12:00:00Z",
            "deletion_time": "",
            "destroyed": False,
        }
        versions.append({"data": data, "metadata": metadata})
        self.tokens.setdefault(TOKEN, set()).add(path)

    def delete(self, path: str, *, destroy: bool = False) -> None:
        newest = self.secrets[path][-1]
        newest["data"] = None
        newest["metadata"]["deletion_time"] = "2026-11-24T08:00:00Z"
        newest["metadata"]["destroyed"] = destroy


@contextmanager
def serving(vault: FakeVault, certificate: Path | None = None) -> Iterator[str]:
    """Serve it, and yield its URL."""
    with running(type("VaultHandler", (_Handler,), {"vault": vault}), certificate) as url:
        yield url


class _Handler(Handler):
    vault: FakeVault

    def serve(self, method: str) -> None:
        body = self.body()
        path = self.path.partition("?")[0]
        self.vault.asked.append(f"{method} {path}")
        self.vault.authorizations.append(self.headers.get("Authorization"))
        instead = self.vault.fault(path)
        if instead is not None:
            status, kind, data, headers = instead
            self.answer(status, data, kind=kind, headers=headers)
        elif self.vault.sealed:
            self._refuse(503, "Vault is sealed")
        elif self.headers.get("X-Vault-Namespace") != self.vault.namespace:
            self._refuse(404, f"no handler for route {path}")
        elif login := _LOGIN.fullmatch(path):
            self._login(login["mount"], body)
        else:
            self._read(method, path)

    def _login(self, mount: str, body: Any) -> None:
        expected = self.vault.logins.get(mount)
        if expected is None:
            self._refuse(403, "permission denied")
        elif body != expected:
            self._refuse(400, "invalid role or secret ID")
        else:
            self.answer(200, {"auth": {"client_token": TOKEN, "lease_duration": 3600}})

    def _read(self, method: str, path: str) -> None:
        readable = self.vault.tokens.get(self.headers.get("X-Vault-Token", ""))
        if readable is None:
            self._refuse(403, "permission denied", "invalid token")
            return
        if path == "/v1/auth/token/lookup-self":
            self.answer(200, {"data": {"policies": ["default"]}})
            return
        data, listing = _DATA.fullmatch(path), _METADATA.fullmatch(path)
        if method == "LIST" and listing and listing["mount"] == self.vault.mount:
            folder = listing["path"].rstrip("/") + "/"
            names = {
                known.removeprefix(folder).partition("/")[0]
                for known in self.vault.secrets
                if known.startswith(folder)
            }
            self.answer(200, {"data": {"keys": sorted(names)}}) if names else self._refuse(404)
        elif data is None or data["mount"] != self.vault.mount:
            self._refuse(404, f'no handler for route "{path}"')
        elif data["path"] not in self.vault.secrets:
            self._refuse(404)
        elif data["path"] not in readable:
            self._refuse(403, "1 error occurred: permission denied")
        else:
            newest = self.vault.secrets[data["path"]][-1]
            self.answer(404 if newest["data"] is None else 200, {"data": newest})

    def _refuse(self, status: int, *errors: str) -> None:
        self.answer(status, {"errors": list(errors)})
