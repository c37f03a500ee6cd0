"""A socket in front of a server: it counts the statements of all sessions, and can act on each.

It stands between every session and the server, those of `pg_dump` too, so that what is done to a
statement is done on the wire and not to an object of ours.
"""

import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from site_support import Site

#: A simple query, and the parsing of a prepared one: one of each per statement.
_STATEMENTS = (b"Q", b"P")
_BACKEND_KEY = b"K"
_START = struct.Struct("!i")
_HEAD = struct.Struct("!ci")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement that is about to reach the server."""

    #: Counted over all sessions, from 1.
    number: int
    text: str
    #: The server's process that serves the session.
    pid: int
    #: Ends both sides of the connection, as a firewall does.
    cut: Callable[[], None]


@dataclass(kw_only=True)
class Wire:
    """What went over the socket, and what is done before a statement goes on."""

    #: The folder of the socket, to connect to.
    host: str
    #: Is told of each statement, one at a time, before the server is.
    before: Callable[[Statement], None] = lambda _: None
    statements: list[str] = field(default_factory=list)
    #: What `before` has raised: a thread of ours has nobody to raise it to.
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_on(self, text: str, pid: int, cut: Callable[[], None]) -> None:
        with self.lock:
            self.statements.append(text)
            try:
                self.before(Statement(number=len(self.statements), text=text, pid=pid, cut=cut))
            except BaseException as error:
                self.errors.append(error)
                raise


@contextmanager
def wired(site: Site) -> Iterator[Wire]:
    """Let all sessions of a site go through a wire; nothing of it is left after the block."""
    direct = {name: (site.folder / name).read_text() for name in ("dsn", "admin-dsn")}
    words = dict(word.split("=", 1) for word in direct["dsn"].split())
    server = f"{words['host'].strip(chr(39))}/.s.PGSQL.{site.server.port}"
    folder = Path(tempfile.mkdtemp(prefix="wire-"))
    wire = Wire(host=str(folder))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/.s.PGSQL.{site.server.port}")
    listener.listen(64)
    accepting = threading.Thread(target=_accept, args=(listener, server, wire))
    accepting.start()
    try:
        for name, conninfo in direct.items():
            site.write_secret(name, conninfo.replace(words["host"], f"'{folder}'"))
        yield wire
    finally:
        for name, conninfo in direct.items():
            site.write_secret(name, conninfo)
        # Closing alone does not wake whoever waits in `accept`.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        shutil.rmtree(folder)
    assert wire.errors == []


def _accept(listener: socket.socket, server: str, wire: Wire) -> None:
    links: list[_Link] = []
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            break
        links.append(_Link(client, server, wire))
    for link in links:
        link.end()


class _Link:
    """One connection through the wire: a thread for each direction."""

    def __init__(self, client: socket.socket, server: str, wire: Wire) -> None:
        self._client = client
        self._server = socket.socket(socket.AF_UNIX)
        self._wire = wire
        self._pid = 0
        self._threads = [threading.Thread(target=t) for t in (self._forth, self._back)]
        try:
            self._server.connect(server)
        except OSError:
            # A server that is down refuses: so do we.
            self.cut()
            return
        for thread in self._threads:
            thread.start()

    def cut(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.cut()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._client.close()
        self._server.close()

    def _forth(self) -> None:
        with suppress(EOFError, OSError):
            start = _take(self._client, _START.size)
            (size,) = _START.unpack(start)
            self._server.sendall(start + _take(self._client, size - _START.size))
            for kind, head, body in _messages(self._client):
                if kind in _STATEMENTS:
                    text = (body if kind == b"Q" else body.partition(b"\0")[2]).partition(b"\0")[0]
                    self._wire.pass_on(text.decode(errors="replace"), self._pid, self.cut)
                self._server.sendall(head + body)
        self.cut()

    def _back(self) -> None:
        with suppress(EOFError, OSError):
            for kind, head, body in _messages(self._server):
                if kind == _BACKEND_KEY:
                    (self._pid,) = _START.unpack(body[: _START.size])
                self._client.sendall(head + body)
        self.cut()


def _messages(source: socket.socket) -> Iterator[tuple[bytes, bytes, bytes]]:
    while True:
        head = _take(source, _HEAD.size)
        kind, size = _HEAD.unpack(head)
        yield kind, head, _take(source, size - _START.size)


def _take(source: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = source.recv(min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
