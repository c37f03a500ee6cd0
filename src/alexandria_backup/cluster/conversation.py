"""Calls of the Kubernetes API: repeated while it is away, with a new token where one ran out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from alexandria_backup.cluster.access import Access, ClusterPlace, load_access
from alexandria_backup.cluster.answers import PASSING, document, pause_of, refusal, unreachable
from alexandria_backup.cluster.documents import Document
from alexandria_backup.cluster.kinds import Wanted
from alexandria_backup.errors import PlatformRefused

_METHODS = {"get": "GET", "list": "GET", "patch": "PATCH", "create": "POST"}
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


@dataclass(kw_only=True)
class Conversation:
    """What is said to one cluster; its token may change while it lasts."""

    place: ClusterPlace
    access: Access
    #: Seconds for one answer.
    timeout_s: float
    #: Seconds for which a cluster that is away is asked again.
    patience_s: float

    def ask(
        self,
        wanted: Wanted,
        *,
        params: Mapping[str, str] | None = None,
        json: Document | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        """Return the document that is answered; raises what `Cluster` says."""
        response = self.send(wanted, params=params, json=json, headers=headers)
        return document(response, self.access.server)

    def send(
        self,
        wanted: Wanted,
        *,
        params: Mapping[str, str] | None = None,
        json: Document | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return the good answer; raises what `Cluster` says."""
        deadline = time.monotonic() + self.patience_s
        pause, renewed = _FIRST_PAUSE_S, False
        while True:
            try:
                response = self._once(wanted, params=params, json=json, headers=headers)
            except httpx.HTTPError as error:
                problem: PlatformRefused = unreachable(
                    error, self.access.server, timeout_s=self.timeout_s
                )
                if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
                    raise problem from None
                wait = pause
            else:
                if response.is_success:
                    return response
                if response.status_code == httpx.codes.UNAUTHORIZED and not renewed:
                    # A pod's token is rotated in its file, an exec plug-in gives a new one.
                    self.access, renewed = load_access(self.place), True
                    continue
                if response.status_code not in PASSING:
                    raise refusal(response, wanted, self.access.server)
                problem = refusal(response, wanted, self.access.server)
                wait = pause_of(response, pause)
            if time.monotonic() + wait > deadline:
                raise problem
            time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _once(
        self,
        wanted: Wanted,
        *,
        params: Mapping[str, str] | None,
        json: Document | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        access = self.access
        name = access.tls_server_name
        sent = {"Accept": "application/json", "User-Agent": "alexandria-backup", **(headers or {})}
        if access.token:
            sent["Authorization"] = f"Bearer {access.token.reveal()}"
        # A client per call: calls are few and far between, and nothing stays open.
        with httpx.Client(
            base_url=access.server,
            verify=access.tls,
            proxy=access.proxy,
            timeout=self.timeout_s,
            follow_redirects=False,
        ) as client:
            return client.request(
                _METHODS[wanted.verb],
                wanted.path,
                params=params,
                json=json,
                headers=sent,
                extensions={"sni_hostname": name} if name else None,
            )
