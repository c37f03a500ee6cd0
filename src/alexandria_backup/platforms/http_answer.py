"""What an HTTP server answers to one question."""

from typing import Final, NamedTuple

#: The scheme of a socket's URL: `http+unix://%2Frun%2Fapp.sock`.
SOCKET_SCHEME: Final = "http+unix"


class HttpAnswer(NamedTuple):
    """The beginning of an answer."""

    status: int
    #: The media type, or a redirect's target.
    told: str
    body: str


class NoHttpAnswer(Exception):
    """There was no HTTP answer; the message says why."""
