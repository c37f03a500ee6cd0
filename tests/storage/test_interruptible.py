"""Ctrl-C is answered while a store is silent, whatever its protocol."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from alexandria_backup.storage.interruptible import InterruptibleStore, begun, interruptible
from alexandria_backup.storage.locate import open_store

#: Seconds that the program may take on a slow machine; a silent store is borne for much longer.
_SOON_S = 25
_LISTS = """
import sys
from alexandria_backup.storage.interruptible import InterruptibleStore
from alexandria_backup.storage.locate import CloudOptions, open_store
options = CloudOptions(endpoint=sys.argv[2], allow_http=True)
list(InterruptibleStore(open_store(sys.argv[1], options)).list())
"""
_IDENTITIES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "GOOGLE_BEARER_TOKEN": "test",
    "AZURE_STORAGE_ACCOUNT_NAME": "test",
    "AZURE_STORAGE_ACCOUNT_KEY": "dGVzdA==",
}


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def interrupted_when_called(server: socket.socket, command: list[str], **more: str) -> int:
    """Run a program, interrupt it when it has called the server, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **_IDENTITIES, **more},
        stderr=subprocess.PIPE,
    )
    caller, _ = server.accept()
    with caller:
        caller.recv(1)
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=_SOON_S)
        finally:
            process.kill()
    return process.returncode


@pytest.mark.parametrize("url", ["s3://bucket", "gs://bucket", "az://bucket"])
def test_a_listing_that_is_waited_for_is_left(silent: socket.socket, url: str) -> None:
    ended = interrupted_when_called(silent, ["-c", _LISTS, url, url_of(silent)])
    # As Python ends by an interrupt that nobody catches.
    assert ended == -signal.SIGINT


def test_the_list_of_snapshots_is_left(silent: socket.socket, tmp_path: os.PathLike[str]) -> None:
    ended = interrupted_when_called(
        silent,
        ["-m", "alexandria_backup", "snapshot", "list"],
        ALEXANDRIA_REPOSITORY="s3://bucket/alexandria",
        ALEXANDRIA_STATE_DIR=str(tmp_path),
        AWS_ENDPOINT_URL=url_of(silent),
        AWS_ALLOW_HTTP="true",
    )
    assert ended == 130


def test_what_a_verb_returns_and_raises_comes_through(tmp_path: os.PathLike[str]) -> None:
    store = InterruptibleStore(open_store(os.fspath(tmp_path)))
    store.put("a", b"x" * 9_000_000)
    assert b"".join(store.read("a", 5)) == b"x" * 8_999_995
    assert [info.name for info in store.list()] == ["a"]
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_verbs_are_begun_a_few_at_a_time_and_answer_in_order() -> None:
    at_work, most = set[int](), 0
    lock, full = threading.Lock(), threading.Barrier(3)

    def work(number: int) -> int:
        nonlocal most
        with lock:
            at_work.add(number)
            most = max(most, len(at_work))
        full.wait(20)
        with lock:
            at_work.remove(number)
        return number

    answers = begun([lambda number=number: work(number) for number in range(9)], at_once=3)
    assert [answer.result() for answer in answers] == list(range(9))
    assert most == 3
