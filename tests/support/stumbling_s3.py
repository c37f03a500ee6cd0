"""An S3 server that stumbles on purpose: over HTTP, in front of moto, request by request."""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

App = Callable[[dict[str, Any], Any], Iterable[bytes]]

#: Longer than the clients of these tests wait for an answer.
SILENCE_S = 4.0
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Stumble(Enum):
    """What happens to a request, or to its answer."""

    SLOW_DOWN = "503 SlowDown"
    INTERNAL_ERROR = "500 InternalError"
    #: The connection is reset before anything is done.
    RESET = "reset"
    #: The request is carried out, and the connection reset in place of the answer.
    LOST = "lost"
    #: The answer's body ends half-way; an answer without a body is lost.
    CUT = "cut"
    #: The answer is none of HTTP's, as from something in between.
    NONSENSE = "nonsense"
    #: The answer's body comes in pieces, with pauses.
    SLOW = "slow"
    #: The answer does not come for longer than the client waits.
    SILENT = "silent"


@dataclass(kw_only=True)
class StumblingS3:
    """A WSGI application; all requests are well until `plan` says otherwise."""

    app: App
    #: Told the verb and its how-manieth request this is, since `stumbling_when`.
    plan: Callable[[str, int], Stumble | None] = lambda _verb, _number: None
    #: Requests of each verb.
    seen: Counter[str] = field(default_factory=Counter)
    #: How often something went wrong.
    struck: int = 0
    #: What went wrong once goes well from then on, where this is not None.
    spared: set[tuple[str, ...]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stumbling_when(
        self, plan: Callable[[str, int], Stumble | None], *, once: bool = False
    ) -> None:
        """Count from now on, and let requests go wrong as `plan` says, or each at most `once`."""
        self.spared = set() if once else None
        self.seen.clear()
        self.struck = 0
        self.plan = plan

    def well_again(self) -> None:
        self.plan = lambda _verb, _number: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        verb = verb_of(environ)
        with self._lock:
            self.seen[verb] += 1
            stumble = self._stumble(verb, environ)
            self.struck += stumble is not None
        match stumble:
            case None:
                return self.app(environ, start_response)
            case Stumble.SLOW_DOWN | Stumble.INTERNAL_ERROR:
                return _refused(stumble, environ, start_response)
            case Stumble.RESET:
                _drain(environ)
                raise _reset(environ)
            case Stumble.NONSENSE:
                _drain(environ)
                environ["werkzeug.socket"].sendall(b"no such thing\r\n\r\n")
                raise _reset(environ)
            case Stumble.SILENT:
                _drain(environ)
                time.sleep(SILENCE_S)
                raise _reset(environ)
            case _:
                return _spoilt(stumble, self.app, environ, start_response)

    def _stumble(self, verb: str, environ: dict[str, Any]) -> Stumble | None:
        stumble = self.plan(verb, self.seen[verb])
        if stumble is None or self.spared is None:
            return stumble
        asked = (verb, environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        if asked in self.spared:
            return None
        self.spared.add(asked)
        return stumble


def verb_of(environ: dict[str, Any]) -> str:
    """Return the verb as the port of stores names it."""
    method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
    if method == "GET":
        return "list" if "list-type" in query else "get"
    if method == "POST":
        return "delete" if "delete" in query else "put"
    return str(method).lower()


def _refused(stumble: Stumble, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    # Drained, or the client sees a broken pipe instead of the answer.
    _drain(environ)
    status, _, code = stumble.value.partition(" ")
    body = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
    start_response(
        f"{status} {code}",
        [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))],
    )
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _spoilt(
    stumble: Stumble, app: App, environ: dict[str, Any], start_response: Any
) -> Iterable[bytes]:
    """Let the request be carried out, and spoil the answer."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(app(environ, lambda status, headers, *_: begun.append((status, headers))))
    if stumble is Stumble.LOST or (stumble is Stumble.CUT and not body):
        raise _reset(environ)
    ((status, headers),) = begun
    if body and not any(name.lower() == "content-length" for name, _ in headers):
        headers = [*headers, ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return _slowly(body) if stumble is Stumble.SLOW else [body[: len(body) // 2]]


def _slowly(body: bytes) -> Iterator[bytes]:
    step = max(1, len(body) // 5)
    for start in range(0, len(body), step):
        time.sleep(0.02)
        yield body[start : start + step]


def _drain(environ: dict[str, Any]) -> None:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def _reset(environ: dict[str, Any]) -> ConnectionResetError:
    """Return what lets the server drop the connection, which then is a reset and no orderly end."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    # The server would read on from a connection that it was not told to close; and closed here, it
    # goes with the files that were made of it, before anybody can say goodbye.
    connection.shutdown(socket.SHUT_RD)
    connection.close()
    return ConnectionResetError("dropped on purpose")
