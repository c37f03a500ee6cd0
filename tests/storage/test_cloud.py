"""What only object stores have: uploads in parts, refusals, cut connections, pages of listings."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from obstore import exceptions as vendor

from alexandria_backup.errors import (
    ObjectExists,
    ObjectMissing,
    StorageError,
    StoreDenied,
    StoreFull,
    StoreUnreachable,
)
from alexandria_backup.storage.cloud import part_size
from alexandria_backup.storage.cloud_errors import MEANINGS, translate
from alexandria_backup.storage.locate import CloudOptions, open_store
from alexandria_backup.storage.store import ObjectStore

#: Of `store_places`.
Moto = Any
Place = Any

MIB = 1024 * 1024
GIB = 1024 * MIB


@pytest.fixture
def s3(moto: Moto) -> ObjectStore:
    return open_store(
        "s3://alexandria/here", CloudOptions(endpoint=moto.url, allow_http=True, retries=0)
    )


def of(count: int, error: Exception | None = None) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes(MIB)
    if error:
        raise error


# ── uploads ──────────────────────────────────────────────────────────────────────────────────────


def assert_nothing_stays(moto: Moto, store: ObjectStore) -> None:
    moto.refuse = lambda _: None
    assert store.head("dump") is None
    assert b"<Upload>" not in moto.uploads()


def test_a_long_stream_goes_in_parts(moto: Moto, s3: ObjectStore) -> None:
    s3.put_stream("dump", of(70), expected_size=70 * MIB)
    parts = [line for line in moto.seen if "partNumber=" in line]
    assert len(parts) == 3
    assert b"<Upload>" not in moto.uploads()


def test_a_short_stream_goes_in_one_conditional_request(moto: Moto, s3: ObjectStore) -> None:
    s3.put_stream("dump", of(2), expected_size=2 * MIB)
    assert not [line for line in moto.seen if "uploads" in line]


def test_an_upload_whose_source_fails_is_aborted(moto: Moto, s3: ObjectStore) -> None:
    error = RuntimeError("mine")
    with pytest.raises(RuntimeError) as caught:
        # More parts than may be on their way at once, so that some have arrived.
        s3.put_stream("dump", of(170, error), expected_size=70 * MIB)
    assert caught.value is error
    assert any("partNumber=" in line for line in moto.seen)
    assert_nothing_stays(moto, s3)


@pytest.mark.parametrize("verb", ["part", "complete"])
def test_an_upload_that_the_server_refuses_is_aborted(
    moto: Moto, s3: ObjectStore, verb: str
) -> None:
    def refuse(environ: dict[str, Any]) -> int | None:
        query = environ["QUERY_STRING"]
        if verb == "part":
            return 503 if "partNumber=2" in query else None
        completes = environ["REQUEST_METHOD"] == "POST" and "uploadId=" in query
        return 503 if completes else None

    moto.refuse = refuse
    with pytest.raises(StoreUnreachable, match="503"):
        s3.put_stream("dump", of(70), expected_size=70 * MIB)
    assert_nothing_stays(moto, s3)


def test_a_refused_abort_does_not_hide_what_came_first(moto: Moto, s3: ObjectStore) -> None:
    moto.refuse = lambda environ: 503 if environ["REQUEST_METHOD"] == "DELETE" else None
    with pytest.raises(RuntimeError, match="mine"):
        s3.put_stream("dump", of(70, RuntimeError("mine")), expected_size=70 * MIB)
    moto.refuse = lambda _: None
    assert s3.head("dump") is None


def test_a_writer_that_was_faster_is_not_overwritten(moto: Moto, s3: ObjectStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield from of(40)
        s3.put("dump", b"faster")

    with pytest.raises(ObjectExists):
        s3.put_stream("dump", chunks(), expected_size=40 * MIB)
    assert s3.get("dump") == b"faster"
    assert b"<Upload>" not in moto.uploads()


def test_parts_suffice_for_twice_the_estimate() -> None:
    for estimate in (0, 1, GIB, 300 * GIB, 1024 * GIB, 2400 * GIB, 5 * 1024 * GIB):
        assert part_size(estimate) * 10_000 >= 2 * estimate
        assert 32 * MIB <= part_size(estimate) < 5 * GIB
    assert part_size(None) * 10_000 >= 600 * GIB
    assert part_size(100 * GIB) == 32 * MIB


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [3 * MIB, 20 * MIB], ids=["one answer", "several ranges"])
def test_a_cut_connection_is_never_the_end_of_an_object(
    moto: Moto, s3: ObjectStore, size: int
) -> None:
    s3.put("dump", bytes(size))
    moto.cut_after = 2 * MIB
    given: list[int] = []
    with pytest.raises(StorageError):
        given.extend(len(chunk) for chunk in s3.read("dump"))
    assert sum(given) < size
    with pytest.raises(StorageError):
        s3.get("dump")


def test_a_read_can_be_left_early(s3: ObjectStore) -> None:
    s3.put("dump", bytes(20 * MIB))
    chunks = s3.read("dump")
    assert len(next(chunks)) == 8 * MIB


def test_an_object_that_vanishes_while_it_is_read(s3: ObjectStore) -> None:
    s3.put("dump", bytes(20 * MIB))
    chunks = s3.read("dump")
    next(chunks)
    s3.delete("dump")
    with pytest.raises(ObjectMissing):
        next(chunks)


def test_an_object_that_is_replaced_while_it_is_read(s3: ObjectStore) -> None:
    """Nobody should; but two halves of two objects must never look like one."""
    s3.put("dump", bytes(20 * MIB))
    chunks = s3.read("dump")
    next(chunks)
    s3.delete("dump")
    s3.put("dump", b"x" * 20 * MIB)
    with pytest.raises(StorageError, match="412"):
        next(chunks)


# ── listing ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def crowd(s3: ObjectStore) -> list[str]:
    names = [f"crowd/{number:04}" for number in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda name: s3.put(name, b""), names)]
    return names


def test_a_listing_of_several_pages_is_whole(moto: Moto, s3: ObjectStore, crowd: list[str]) -> None:
    assert sorted(info.name for info in s3.list("crowd/")) == crowd
    assert sorted(info.name for info in s3.list("crowd/", recursive=False)) == crowd

    def refuse(environ: dict[str, Any]) -> int | None:
        return 503 if "continuation-token" in environ["QUERY_STRING"] else None

    moto.refuse = refuse
    with pytest.raises(StoreUnreachable):
        _ = [*s3.list("crowd/")]
    with pytest.raises(StoreUnreachable):
        _ = [*s3.list("crowd/", recursive=False)]


def test_what_lies_beside_the_prefix_is_not_listed(moto: Moto, s3: ObjectStore) -> None:
    options = CloudOptions(endpoint=moto.url, allow_http=True)
    s3.put("mine", b"")
    beside = open_store("s3://alexandria/here-too", options)
    beside.put("theirs", b"")
    assert [info.name for info in s3.list()] == ["mine"]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, StorageError),
        (401, StoreDenied),
        (403, StoreDenied),
        (408, StoreUnreachable),
        (429, StoreUnreachable),
        (500, StoreUnreachable),
        (503, StoreUnreachable),
        (507, StoreFull),
    ],
)
def test_what_the_server_answers_has_one_meaning_for_every_verb(
    moto: Moto, s3: ObjectStore, status: int, expected: type[StorageError]
) -> None:
    s3.put("there", b"x")
    verbs = [
        lambda: s3.put("new", b"x"),
        lambda: s3.put_stream("new", of(34), expected_size=34 * MIB),
        lambda: s3.get("there"),
        lambda: next(s3.read("there")),
        lambda: s3.head("there"),
        lambda: next(s3.list()),
        lambda: s3.delete("there"),
    ]
    moto.refuse = lambda _: status
    for number, verb in enumerate(verbs):
        with pytest.raises(StorageError) as caught:
            verb()
        assert type(caught.value) is expected, number
        assert str(status) in caught.value.message
        # Whoever can do something about it is told what.
        assert bool(caught.value.hint) is (expected is not StorageError)
        assert "\n" not in caught.value.message


def test_a_server_without_conditions_is_asked_beforehand(moto: Moto, s3: ObjectStore) -> None:
    moto.refuse = lambda environ: 501 if "HTTP_IF_NONE_MATCH" in environ else None
    s3.put("name", b"first")
    with pytest.raises(ObjectExists):
        s3.put("name", b"second")
    assert s3.get("name") == b"first"


def test_conditions_may_be_switched_off(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    options = CloudOptions(endpoint=moto.url, allow_http=True)
    store = open_store("s3://alexandria/unconditional", options)
    store.put("name", b"first")
    with pytest.raises(ObjectExists):
        store.put("name", b"second")


def test_a_missing_bucket_is_named(moto: Moto) -> None:
    store = open_store("s3://not-there/x", CloudOptions(endpoint=moto.url, allow_http=True))
    for verb in (
        lambda: store.put("name", b""),
        lambda: store.get("name"),
        lambda: next(store.list()),
    ):
        with pytest.raises(StorageError, match="does not exist") as caught:
            verb()
        assert type(caught.value) is StorageError
        assert "s3://not-there/x" in caught.value.message


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        options = CloudOptions(
            endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}", allow_http=True, retries=0
        )
        store = open_store("s3://bucket", options)
        with pytest.raises(StoreUnreachable, match="no connection"):
            store.head("name")


def test_a_server_that_takes_calls_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = CloudOptions(
            endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}",
            allow_http=True,
            retries=0,
            answer_timeout=timedelta(seconds=0.2),
        )
        store = open_store("s3://bucket", options)
        with pytest.raises(StoreUnreachable, match="no answer in time"):
            store.head("name")
        with pytest.raises(StoreUnreachable, match="no answer in time"):
            store.put("name", b"small")


def test_plain_http_must_be_allowed(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store("s3://alexandria", CloudOptions(endpoint=moto.url, retries=0))
    with pytest.raises(StorageError, match="plain http") as caught:
        store.head("name")
    assert caught.value.hint == "export AWS_ALLOW_HTTP=true"
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    assert open_store("s3://alexandria").head("name") is None


def test_every_error_of_the_vendor_has_a_meaning() -> None:
    """A new one fails here, and is then given a meaning."""
    found = {
        value
        for value in vars(vendor).values()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    assert found
    assert found <= set(MEANINGS)
    for kind in MEANINGS:
        error = translate(kind("something happened"), "`x` could not be read")
        assert isinstance(error, StorageError)
        assert error.message.startswith("`x` could not be read: ")


def test_messages_hold_nothing_that_is_signed() -> None:
    text = (
        "Generic MicrosoftAzure error: Error performing GET "
        "https://account.blob.core.windows.net/c/b?sv=1&sig=SECRET in 1ms - Server returned "
        "non-2xx status code: 500 Internal Server Error: <Error><Code>Oops</Code>\n\nDebug source:"
    )
    message = translate(vendor.GenericError(text), "`x` could not be read").message
    assert message == "`x` could not be read: the server answered 500 `Oops`"
    bare = vendor.GenericError("odd: https://account.blob.core.windows.net/?sig=SECRET")
    assert not re.search("SECRET|https", translate(bare, "`x` could not be read").message)


def test_a_machine_without_an_identity_is_told_so() -> None:
    """As obstore says it after asking the metadata service of a cloud in vain."""
    text = "Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error"
    error = translate(vendor.GenericError(text), "`x` could not be read")
    assert isinstance(error, StoreDenied)
    assert "no credentials" in error.message


def test_azure_without_an_account_is_told_so() -> None:
    with pytest.raises(StorageError, match="no storage account") as caught:
        open_store("az://container")
    assert caught.value.hint is not None
    assert "AZURE_STORAGE_ACCOUNT_NAME" in caught.value.hint
