"""Whether the application serves: `/ready` answers 200, `/license` says what it is licensed for.

The answers come through whatever stands before the application, so a login page, a proxy's error
page or a redirect is told apart from the application's own word. No credentials are ever sent:
not from the URL, not from a `.netrc`, no cookies.
"""

import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from alexandria_backup.errors import ApplicationNotReady, SettingsInvalid
from alexandria_backup.platforms.license import LicenseReport, read_license

#: How much of an answer is read at most, in bytes.
ANSWER_BYTES = 64 * 1024
#: How much of an answer's first line is shown, in characters.
_LINE_CHARACTERS = 160
#: Pauses between attempts, in seconds: short at first, since they are counted as downtime.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_SOCKET_SCHEME = "http+unix"


@dataclass(frozen=True, kw_only=True)
class ReadyReport:
    """The application became ready."""

    #: From the first question to the good answer.
    seconds: float
    #: How many times it was asked.
    attempts: int


@dataclass(frozen=True, kw_only=True)
class ReadyAnswer:
    """One answer of `/ready`."""

    ready: bool
    #: What was answered, in a few words, such as `503: cannot reach the database`.
    said: str


@dataclass(frozen=True, kw_only=True)
class ReadinessProbe:
    """Asks the application under `url`; raises `SettingsInvalid` for a URL it cannot ask."""

    #: `http://host:port`, `https://…`, or `http+unix://%2Frun%2Fapp.sock` for a socket.
    url: str
    #: Certificates to trust instead of the system's, in PEM.
    ca_file: Path | None = None
    #: How long one question may take altogether, in seconds.
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https", _SOCKET_SCHEME} or not parts.netloc:
            raise SettingsInvalid(
                "the application's URL is not one that can be asked",
                hint="set `[application] url` to something like `https://alexandria.example`",
            )
        if "@" in parts.netloc:
            raise SettingsInvalid(
                "the application's URL holds credentials, and `/ready` is asked without any",
                hint="remove the part before the `@` from `[application] url`",
            )

    def ask(self) -> ReadyAnswer:
        """Ask `/ready` once; an application that cannot be reached is an answer, too."""
        try:
            status, kind, body = self._get("/ready")
        except _NoAnswer as exc:
            return ReadyAnswer(ready=False, said=str(exc))
        return ReadyAnswer(ready=status == httpx.codes.OK, said=_describe(status, kind, body))

    def is_ready(self) -> bool:
        """Ask `/ready` once."""
        return self.ask().ready

    def wait_ready(
        self, *, patience_s: float, on_wait: Callable[[str], None] | None = None
    ) -> ReadyReport:
        """Ask `/ready` until it answers 200.

        `on_wait` is called with the answer after each attempt that failed. Raises
        `ApplicationNotReady` with the last answer when `patience_s` seconds have passed.
        """
        began = time.monotonic()
        pause, attempts = _FIRST_PAUSE_S, 0
        while True:
            answer = self.ask()
            attempts += 1
            waited = time.monotonic() - began
            if answer.ready:
                return ReadyReport(seconds=waited, attempts=attempts)
            if on_wait is not None:
                on_wait(answer.said)
            if waited + pause > patience_s:
                raise ApplicationNotReady(
                    f"`{self.url}/ready` was asked {attempts} times in {waited:.1f} s and last "
                    f"answered {answer.said}",
                    hint="read the application's log",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def license(self) -> LicenseReport:
        """Ask `/license`; raises `ApplicationNotReady` if there is no JSON object to read."""
        try:
            status, kind, body = self._get("/license")
        except _NoAnswer as exc:
            raise ApplicationNotReady(f"`{self.url}/license` did not answer: {exc}") from exc
        try:
            document = json.loads(body) if status == httpx.codes.OK else None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ApplicationNotReady(
                f"`{self.url}/license` answered {_describe(status, kind, body)}"
            )
        return read_license(document)

    def _get(self, path: str) -> tuple[int, str, str]:
        """Return status, media type (or a redirect's target) and the beginning of the body."""
        base, transport = self._transport()
        deadline = time.monotonic() + self.timeout_s
        body = b""
        try:
            with (
                httpx.Client(
                    transport=transport,
                    timeout=self.timeout_s,
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
                        raise _NoAnswer(f"nothing whole within {self.timeout_s:g} s")
                    if len(body) >= ANSWER_BYTES:
                        break
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
            raise _NoAnswer(_explain(exc, timeout_s=self.timeout_s)) from exc
        told = response.headers.get(
            "location" if response.has_redirect_location else "content-type", ""
        )
        return response.status_code, told, body.decode(errors="replace")

    def _transport(self) -> tuple[str, httpx.HTTPTransport]:
        """Return the URL to ask under and the way to get there."""
        parts = urlsplit(self.url)
        if parts.scheme == _SOCKET_SCHEME:
            path = parts.path.rstrip("/")
            return f"http://localhost{path}", httpx.HTTPTransport(
                verify=False, uds=unquote(parts.netloc)
            )
        base = self.url.rstrip("/")
        if parts.scheme == "http":
            return base, httpx.HTTPTransport(verify=False)  # no TLS, nothing to check
        return base, httpx.HTTPTransport(verify=self._tls())

    def _tls(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise SettingsInvalid(
                f"`{self.ca_file}` cannot be read as certificates in PEM",
                hint="check `[application] ca_file`",
            ) from exc


class _NoAnswer(Exception):
    """There was no HTTP answer; the message says why."""


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


def _describe(status: int, told: str, body: str) -> str:
    """Say in a few words what was answered."""
    if httpx.codes.is_redirect(status):
        # A target's query may hold tokens, and userinfo is not for a log either.
        target = urlsplit(told)
        shown = (
            f"{target.scheme}://{target.hostname}{target.path}" if target.netloc else target.path
        )
        return f"{status}: a redirect to `{shown}`, which is not followed"
    start = body.lstrip()[:200].lower()
    if "html" in told.lower() or start.startswith(("<!doctype html", "<html")):
        return f"{status}: an HTML page, probably of a proxy or a login in front of the application"
    line = next((line.strip() for line in body.splitlines() if line.strip()), "")
    if not line:
        return f"{status} with an empty body"
    return f"{status}: {''.join(c if c.isprintable() else '·' for c in line[:_LINE_CHARACTERS])}"
