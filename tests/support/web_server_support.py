"""A web server in this process, on loopback, that a test starts and ends."""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *arguments: object) -> None: ...


class Handler(BaseHTTPRequestHandler):
    """Answers JSON, and says nothing on the terminal."""

    protocol_version = "HTTP/1.1"
    # Headers and body in one piece: otherwise each answer waits for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def serve(self, method: str) -> None:
        """Answer one request."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.serve("GET")

    def do_PATCH(self) -> None:
        self.serve("PATCH")

    def do_PUT(self) -> None:
        self.serve("PUT")

    def do_POST(self) -> None:
        self.serve("POST")

    def do_LIST(self) -> None:
        self.serve("LIST")

    def log_message(self, *arguments: object) -> None: ...

    def body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        return self.decoded(self.rfile.read(length)) if length else None

    def decoded(self, data: bytes) -> Any:
        """Read the body of a request."""
        return json.loads(data)

    def answer(
        self,
        status: int,
        body: object,
        *,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


@contextlib.contextmanager
def running(handler: type[Handler], certificate: Path | None = None) -> Iterator[str]:
    """Serve, and yield the URL; with a certificate, by TLS."""
    server = Server(("127.0.0.1", 0), handler)
    scheme = "http"
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
