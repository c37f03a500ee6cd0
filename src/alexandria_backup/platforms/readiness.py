"""Whether the application serves: `/ready` answers 200, `/license` says what it is licensed for.

The answers come through whatever stands before the application, so a login page, a proxy's error
page or a redirect is told apart from the application's own word. No credentials are ever sent:
not from the URL, not from a `.netrc`, no cookies.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from alexandria_backup.errors import ApplicationNotReady, SettingsInvalid
from alexandria_backup.platforms.http_answer import SOCKET_SCHEME, HttpAnswer, NoHttpAnswer
from alexandria_backup.platforms.license import LicenseReport, read_license

#: How much of an answer is read at most, in bytes.
ANSWER_BYTES = 64 * 1024
#: How much of an answer's first line is shown, in characters.
_LINE_CHARACTERS = 160
#: Pauses between attempts, in seconds: short at first, since they are counted as downtime.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_REDIRECTS = range(300, 400)


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
        if parts.scheme not in {"http", "https", SOCKET_SCHEME} or not parts.netloc:
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
        except NoHttpAnswer as exc:
            return ReadyAnswer(ready=False, said=str(exc))
        return ReadyAnswer(ready=status == HTTPStatus.OK, said=_describe(status, kind, body))

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
        except NoHttpAnswer as exc:
            raise ApplicationNotReady(f"`{self.url}/license` did not answer: {exc}") from exc
        try:
            document = json.loads(body) if status == HTTPStatus.OK else None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ApplicationNotReady(
                f"`{self.url}/license` answered {_describe(status, kind, body)}"
            )
        return read_license(document)

    def _get(self, path: str) -> HttpAnswer:
        # Here, since httpx takes longer to import than most commands take, and few ask anything.
        from alexandria_backup.platforms.http_get import http_get  # noqa: PLC0415

        return http_get(
            self.url, path, ca_file=self.ca_file, timeout_s=self.timeout_s, most=ANSWER_BYTES
        )


def _describe(status: int, told: str, body: str) -> str:
    """Say in a few words what was answered."""
    if status in _REDIRECTS:
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
