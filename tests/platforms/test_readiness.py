import contextlib
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alexandria_backup.errors import ApplicationNotReady, SettingsInvalid
from alexandria_backup.platforms.readiness import ReadinessProbe


@dataclass(kw_only=True)
class Application:
    """A real HTTP server whose answers a test sets."""

    url: str = ""
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    #: Called before an answer is sent.
    before: Callable[[int], None] = lambda _: None
    #: What was asked, with the request's headers.
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextlib.contextmanager
def serving(
    *, tls: ssl.SSLContext | None = None, unix: Path | None = None
) -> Iterator[Application]:
    application = Application()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            application.asked.append((self.path, dict(self.headers)))
            application.before(len(application.asked))
            with contextlib.suppress(ConnectionError):  # the probe may have given up
                self.send_response(application.status)
                for name, value in application.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(application.body)

        def log_message(self, *arguments: object) -> None: ...

        def address_string(self) -> str:
            return "test"

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *arguments: object) -> None: ...

    class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        block_on_close = False

    server: socketserver.BaseServer
    if unix is not None:
        server = UnixServer(str(unix), Handler)
    else:
        http = Server(("127.0.0.1", 0), Handler)
        application.url = f"http://127.0.0.1:{http.server_port}"
        if tls is not None:
            http.socket = tls.wrap_socket(
                http.socket, server_side=True, do_handshake_on_connect=False
            )
            application.url = f"https://127.0.0.1:{http.server_port}"
        server = http
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield application
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def application() -> Iterator[Application]:
    with serving() as running:
        yield running


def said(application: Application, *, timeout_s: float = 5) -> str:
    answer = ReadinessProbe(url=application.url, timeout_s=timeout_s).ask()
    assert not answer.ready
    return answer.said


def test_an_application_that_answers_200_is_ready(application: Application) -> None:
    probe = ReadinessProbe(url=application.url + "/")
    assert probe.is_ready()
    report = probe.wait_ready(patience_s=5)
    assert report.attempts == 1
    assert [path for path, _ in application.asked] == ["/ready", "/ready"]


def test_it_waits_until_the_application_comes_up(application: Application) -> None:
    application.status, application.body = 503, b"\n starting \nmore"

    def come_up(count: int) -> None:
        if count == 3:
            application.status = 200

    application.before = come_up
    waits: list[str] = []
    report = ReadinessProbe(url=application.url).wait_ready(patience_s=30, on_wait=waits.append)
    assert report.attempts == 3
    assert waits == ["503: starting", "503: starting"]


def test_patience_ends_with_the_last_answer(application: Application) -> None:
    application.status, application.body = 503, b"cannot reach the database"
    with pytest.raises(ApplicationNotReady, match="last answered 503: cannot reach the database"):
        ReadinessProbe(url=application.url).wait_ready(patience_s=1.5)
    assert len(application.asked) > 1


def test_a_page_of_a_proxy_is_recognised(application: Application) -> None:
    application.status, application.body = 502, b"  <!DOCTYPE html><title>Bad Gateway</title>"
    assert said(application).startswith("502: an HTML page")


def test_a_redirect_is_not_followed_and_its_query_is_not_shown(application: Application) -> None:
    application.status = 302
    application.headers = {"Location": "https://u:pw@login.example/start?token=swordfish"}
    answer = said(application)
    assert answer == "302: a redirect to `https://login.example/start`, which is not followed"
    assert len(application.asked) == 1


def test_an_empty_answer_and_one_with_control_characters(application: Application) -> None:
    application.status, application.body = 500, b""
    assert said(application) == "500 with an empty body"
    application.body = b"\x1b[2Jboo\xff"
    assert "\x1b" not in said(application)


def test_a_slow_application_is_not_waited_for(application: Application) -> None:
    released = threading.Event()
    application.before = lambda _: released.wait(30) and None
    assert said(application, timeout_s=0.3) == "nothing within 0.3 s"
    released.set()


def test_an_answer_that_drips_has_a_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripped_to_the_end = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(600):
                    connection.sendall(b".")
                    time.sleep(0.05)
                dripped_to_the_end.set()

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        answer = ReadinessProbe(url=url, timeout_s=2).ask()
        assert answer.said == "nothing whole within 2 s"
        thread.join()
        assert not dripped_to_the_end.is_set()


def test_an_endless_answer_is_cut(application: Application) -> None:
    application.body = b"x" * 10_000_000
    assert ReadinessProbe(url=application.url).is_ready()


def test_a_refused_connection_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert ReadinessProbe(url=url).ask().said == "nothing: connection refused"


def test_a_host_that_does_not_exist_is_an_answer() -> None:
    assert ReadinessProbe(url="http://no-such-host.invalid").ask().said.startswith("nothing")


def test_something_that_is_not_http_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 smtp.example ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "not HTTP" in ReadinessProbe(url=url).ask().said
        thread.join()


def test_tls_needs_a_certificate_that_is_trusted(certificate: Path, tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(tls=tls) as application:
        assert "a certificate that is not trusted: self" in said(application)
        assert ReadinessProbe(url=application.url, ca_file=certificate).is_ready()
        plain = ReadinessProbe(url=application.url.replace("https", "http")).ask()
        assert not plain.ready


def test_tls_against_a_plain_server_is_named(application: Application) -> None:
    assert "TLS" in ReadinessProbe(url=application.url.replace("http", "https")).ask().said


def test_a_missing_or_broken_ca_file_is_a_mistake_of_settings(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("not a certificate")
    for path in (broken, tmp_path / "none.pem"):
        with pytest.raises(SettingsInvalid, match="cannot be read as certificates"):
            ReadinessProbe(url="https://127.0.0.1:1", ca_file=path).ask()


def test_a_unix_socket_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(unix=path) as application:
        url = "http+unix://" + str(path).replace("/", "%2F") + "/api"
        assert ReadinessProbe(url=url).is_ready()
        assert application.asked[0][0] == "/api/ready"


def test_no_credentials_are_sent(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password swordfish\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://u:swordfish@127.0.0.1:1")
    application.headers = {"Set-Cookie": "session=swordfish"}
    probe = ReadinessProbe(url=application.url)
    assert probe.is_ready()
    assert probe.is_ready()
    assert "swordfish" not in repr(application.asked)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://host", "https://", "http://user:swordfish@host"]
)
def test_a_url_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        ReadinessProbe(url=url)
    assert "swordfish" not in str(caught.value)


def test_a_licence_is_read(application: Application) -> None:
    application.body = b'{"tier": "enterprise", "seats": 250}'
    report = ReadinessProbe(url=application.url).license()
    assert (report.tier, report.seats, report.missing) == ("enterprise", 250, ("expires",))
    assert application.asked[0][0] == "/license"


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (200, b"<html>sign in</html>", "200: an HTML page"),
        (200, b"[1]", r"200: \[1\]"),
        (404, b'{"tier": "team"}', "404: "),
        (200, b"", "200 with an empty body"),
    ],
)
def test_what_is_no_licence_is_named(
    application: Application, status: int, body: bytes, shown: str
) -> None:
    application.status, application.body = status, body
    with pytest.raises(ApplicationNotReady, match=f"answered {shown}"):
        ReadinessProbe(url=application.url).license()


def test_no_answer_for_a_licence_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ApplicationNotReady, match="did not answer: nothing: connection refused"):
        ReadinessProbe(url=url).license()
