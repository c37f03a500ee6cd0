"""One question over HTTP, TLS or a socket, without credentials; nothing is followed."""

import ssl
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.platforms.http_answer import SOCKET_SCHEME, HttpAnswer, NoHttpAnswer


def http_get(
    url: str, path: str, *, ca_file: Path | None, timeout_s: float, most: int
) -> HttpAnswer:
    """Return what `path` under `url` answers, `most` bytes of it.

    `timeout_s` is for all of it. Raises NoHttpAnswer, and SettingsInvalid for a `ca_file` that
    cannot be read.
    """
    base, transport = _way_to(url, ca_file)
    deadline = time.monotonic() + timeout_s
    body = b""
    try:
        with (
            httpx.Client(
                transport=transport,
                timeout=timeout_s,
                follow_redirects=False,
                trust_env=False,
            ) as client,
            client.stream(
                "GET", base + path, headers={"Accept": "application/json, text/plain"}
            ) as response,
        ):
            for piece in response.iter_bytes():
                body += piece
                # A timeout of httpx is per read: a server that drips would hold us for ever,
                # and so would a chunk size, for which httpx waits.
                if time.monotonic() > deadline:
                    raise NoHttpAnswer(f"nothing whole within {timeout_s:g} s")
                if len(body) >= most:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
        raise NoHttpAnswer(_explain(exc, timeout_s=timeout_s)) from exc
    header = "location" if response.has_redirect_location else "content-type"
    return HttpAnswer(
        status=response.status_code,
        told=response.headers.get(header, ""),
        body=body.decode(errors="replace"),
    )


def _way_to(url: str, ca_file: Path | None) -> tuple[str, httpx.HTTPTransport]:
    """Return the URL to ask under and the way to get there."""
    parts = urlsplit(url)
    if parts.scheme == SOCKET_SCHEME:
        path = parts.path.rstrip("/")
        return f"http://localhost{path}", httpx.HTTPTransport(
            verify=False, uds=unquote(parts.netloc)
        )
    base = url.rstrip("/")
    if parts.scheme == "http":
        return base, httpx.HTTPTransport(verify=False)  # no TLS, nothing to check
    return base, httpx.HTTPTransport(verify=_tls(ca_file))


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise SettingsInvalid(
            f"`{ca_file}` cannot be read as certificates in PEM",
            hint="check `[application] ca_file`",
        ) from exc


def _explain(exc: Exception, *, timeout_s: float) -> str:
    """Say in a few words why there was no answer."""
    if isinstance(exc, httpx.TimeoutException):
        return f"nothing within {timeout_s:g} s"
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"with a certificate that is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"with a failure of TLS: {cause.reason or cause}"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing: connection refused"
        cause = cause.__cause__ or cause.__context__
    if isinstance(exc, httpx.RemoteProtocolError):
        return "something that is not HTTP, or closed the connection"
    return f"nothing: {exc}" if str(exc) else "nothing: the connection failed"
