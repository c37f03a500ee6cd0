"""The stand-in's HTTP side: `/ready` and `/license`, as the application answers them."""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from alexandria_backup.demo.sessions import open_session
from alexandria_backup.errors import AlexandriaError
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.dsn import Dsn

_LICENSE = """
SELECT tier, seats, expires_at FROM public.licenses ORDER BY expires_at DESC LIMIT 1
"""
#: Reads one row of what the application cannot live without.
_READY = "SELECT 1 FROM public.users LIMIT 1"


class Database:
    """One connection that is kept, and made anew once when it turns out to be lost."""

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._lock = threading.Lock()
        self._session: Session | None = None

    def one(self, statement: str) -> tuple[object, ...] | None:
        """Run a query; raises what `open_session` and the query raise."""
        with self._lock:
            kept = self._session is not None
            try:
                return self._one(statement)
            except AlexandriaError:
                self._drop()
                if not kept:
                    raise
            # The kept connection may have ended long ago, so one failure of it says nothing.
            return self._one(statement)

    def close(self) -> None:
        """Close the connection; doing it twice equals doing it once."""
        with self._lock:
            self._drop()

    def _one(self, statement: str) -> tuple[object, ...] | None:
        if self._session is None:
            self._session = open_session(self._dsn, part="api")
        return self._session.one(statement)

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class Service(ThreadingHTTPServer):
    """Answers on 127.0.0.1 only; raises `OSError` if the port is taken."""

    daemon_threads = True
    # A request that hangs in the database must not hold up the end.
    block_on_close = False

    def __init__(self, port: int, database: Database) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.database: Final = database

    def server_bind(self) -> None:
        """Bind without the look-up of our own name that `HTTPServer` does, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        """Answer one question."""
        try:
            if self.path == "/ready":
                self._ready()
            elif self.path == "/license":
                self._license()
            else:
                self._answer(404, "text/plain", "no such page")
        except AlexandriaError as exc:
            self._answer(503, "text/plain", str(exc))

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name there
        """Say nothing: who asks every second would fill the log."""

    def _ready(self) -> None:
        if self.server.database.one(_READY) is None:
            self._answer(503, "text/plain", "the database is empty")
        else:
            self._answer(200, "text/plain", "ready")

    def _license(self) -> None:
        row = self.server.database.one(_LICENSE)
        if row is None:
            self._answer(404, "text/plain", "no licence is installed")
            return
        tier, seats, expires = row
        document = {"tier": tier, "seats": seats, "expires": str(expires)}
        self._answer(200, "application/json", json.dumps(document))

    def _answer(self, status: int, kind: str, body: str) -> None:
        encoded = body.encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)
