"""What the API answered, in one sentence: every failure is an error with a command to type."""

import ssl

import httpx

from alexandria_backup.cluster.kinds import Wanted
from alexandria_backup.cluster.rights import rule_for
from alexandria_backup.errors import (
    ClusterConflict,
    ClusterDenied,
    ClusterObjectMissing,
    ClusterUnreachable,
    PlatformRefused,
)

#: How much of the API's own message is shown, in characters.
_SHOWN = 300
#: Answers that mean: later.
PASSING = frozenset({429, 500, 502, 503, 504})


def document(response: httpx.Response, server: str) -> dict[str, object]:
    """Return the JSON object of a good answer; raises ClusterUnreachable for anything else."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    raise ClusterUnreachable(
        f"`{server}` does not answer as a Kubernetes API: {_unlike(response)}",
        hint="kubectl version",
    )


def refusal(  # noqa: PLR0911 - one case per answer
    response: httpx.Response, wanted: Wanted, server: str
) -> PlatformRefused:
    """Return the error that an answer of 300 or more stands for."""
    said = _said(response)
    match response.status_code:
        case 401:
            return ClusterDenied(
                f"`{server}` does not accept our credentials: the token has expired or was revoked",
                hint="kubectl auth whoami",
            )
        case 403:
            return _forbidden(wanted, said)
        case 404 if not _is_page(response):
            return ClusterObjectMissing(f"there is no {wanted}")
        case 409:
            return ClusterConflict(f"{wanted} was changed by somebody else meanwhile")
        case 429:
            return ClusterUnreachable(f"`{server}` is too busy for us: it answers 429")
        case status if said is not None:
            return ClusterUnreachable(f"`{server}` answered {status} to {wanted}: {said}")
        case _:
            return ClusterUnreachable(
                f"`{server}` does not answer as a Kubernetes API: {_unlike(response)}",
                hint="kubectl version",
            )


def unreachable(error: httpx.HTTPError, server: str, *, timeout_s: float) -> ClusterUnreachable:
    """Return the error for no answer at all."""
    hint = "kubectl version"
    if isinstance(error, httpx.TimeoutException):
        return ClusterUnreachable(f"`{server}` did not answer in {timeout_s:g} s", hint=hint)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted: {cause.verify_message}"
            return ClusterUnreachable(f"`{server}` cannot be believed: {why}", hint=hint)
        if isinstance(cause, ssl.SSLError | OSError) and cause.strerror:
            return ClusterUnreachable(f"`{server}` cannot be reached: {cause.strerror}", hint=hint)
        cause = cause.__cause__ or cause.__context__
    # Not its text: that of an illegal header quotes the token.
    return ClusterUnreachable(f"`{server}` cannot be reached ({type(error).__name__})", hint=hint)


def pause_of(response: httpx.Response, default: float) -> float:
    """Return how many seconds to wait before asking again: `Retry-After` where there is one."""
    told = response.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdigit() and len(told) < 6 else default


def _forbidden(wanted: Wanted, said: str | None) -> ClusterDenied:
    """Name the verb and the resource, and give the RBAC rule as a command."""
    return ClusterDenied(
        f"our account may not `{wanted.verb}` {wanted}", hint=rule_for(wanted, said or "")
    )


def _said(response: httpx.Response) -> str | None:
    """Return the message of the API's `Status` document; None where the answer is none."""
    try:
        found = response.json()
    except ValueError:
        return None
    message = found.get("message") if isinstance(found, dict) else None
    if not isinstance(message, str):
        return None
    return "".join(c if c.isprintable() else " " for c in message[:_SHOWN])


def _is_page(response: httpx.Response) -> bool:
    """Tell whether it is an HTML page: the API itself never answers one."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    begin = response.content[:200].lstrip().lower()
    return "html" in kind or begin.startswith((b"<!doc", b"<html"))


def _unlike(response: httpx.Response) -> str:
    kind = response.headers.get("content-type", "").partition(";")[0]
    if response.is_redirect:
        return f"{response.status_code}, a redirect, probably to a login page"
    if _is_page(response):
        return f"{response.status_code} with an HTML page, probably of a proxy before it"
    return f"{response.status_code} with `{kind or 'no content type'}`"
