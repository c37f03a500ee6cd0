"""What the port promises, asked of every kind of store."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alexandria_backup.errors import ObjectExists, ObjectMissing, UsageError
from alexandria_backup.storage.store import ObjectStore

#: A `Place` of `store_places`.
Place = Any

ODD_NAMES = [
    "with space",
    "umlaut-äöü-ß/é-combining-e\u0301",
    "per%cent and per%41code",
    "plus+plus",
    "question?mark",
    "hash#tag",
    "日本語/ファイル",
    "a&b=c;d,e:f@g!$'()",
    "quote'and\"double",
    "..dots../...more",
    "~tilde",
    "-dash",
    ".hidden",
    "x" * 250,
]

HOSTILE_NAMES = [
    "",
    "/etc/passwd",
    "../outside",
    "a/../../outside",
    "a/..",
    ".",
    "a/./b",
    "a//b",
    "a/",
    "nul\0byte",
    "new\nline",
    "\udcff",
    "x" * 256,
    "/".join(["long"] * 300),
    "unfinished.part",
]


def test_what_was_put_is_got(store: ObjectStore) -> None:
    store.put("a/b/c", b"content")
    assert store.get("a/b/c") == b"content"
    assert b"".join(store.read("a/b/c")) == b"content"


def test_an_object_is_read_from_anywhere(store: ObjectStore) -> None:
    content = bytes(range(256)) * (9 << 12)
    store.put_stream("nine", [content])
    for start in (0, 1, 1 << 20, (8 << 20) + 5, len(content) - 1, len(content), len(content) + 9):
        chunks = list(store.read("nine", start))
        assert b"".join(chunks) == content[start:]
        assert b"" not in chunks
    store.put("small", b"content")
    assert b"".join(store.read("small", 3)) == b"tent"


def test_put_never_overwrites(store: ObjectStore) -> None:
    store.put("name", b"first")
    with pytest.raises(ObjectExists, match="`"):
        store.put("name", b"second")
    with pytest.raises(ObjectExists):
        store.put("name", b"first")
    with pytest.raises(ObjectExists):
        store.put_stream("name", iter([b"third"]))
    assert store.get("name") == b"first"


def test_a_stream_over_an_existing_object_is_refused_before_a_chunk_is_taken(
    store: ObjectStore,
) -> None:
    store.put("name", b"first")
    chunks = iter([b"second"])
    with pytest.raises(ObjectExists):
        store.put_stream("name", chunks)
    assert next(chunks) == b"second"


def test_of_many_writers_at_once_one_wins(place: Place, store: ObjectStore) -> None:
    if "conditions" in place.lacks:
        pytest.skip("this server ignores the condition of a put, as the port says")
    barrier = threading.Barrier(8)

    def write(number: int) -> bool:
        barrier.wait()
        try:
            store.put("contested", b"%d" % number)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [*pool.map(write, range(8))]
    assert won.count(True) == 1
    assert store.get("contested") == b"%d" % won.index(True)


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    store.put("empty", b"")
    assert store.put_stream("streamed", iter([])) == 0
    assert store.put_stream("of empty chunks", iter([b"", b""])) == 0
    for name in ("empty", "streamed", "of empty chunks"):
        assert store.get(name) == b""
        assert [*store.read(name)] == []
        info = store.head(name)
        assert info is not None
        assert info.size == 0
    with pytest.raises(ObjectExists):
        store.put("empty", b"x")


def test_a_long_stream_comes_back_whole(place: Place, store: ObjectStore) -> None:
    """Above one part of an upload, in chunks that fit nothing."""
    digest = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for number in range(700):
            chunk = number.to_bytes(2, "big") * 25_013
            digest.update(chunk)
            yield chunk

    size = 700 * 2 * 25_013
    assert size > 33 * 1024 * 1024
    assert store.put_stream("dump", chunks(), expected_size=size // 2) == size
    info = store.head("dump")
    assert info is not None
    assert info.size == size
    again = hashlib.sha256()
    lengths = []
    for chunk in store.read("dump"):
        again.update(chunk)
        lengths.append(len(chunk))
    assert again.digest() == digest.digest()
    assert sum(lengths) == size
    assert min(lengths) > 0
    assert max(lengths) <= 8 * 1024 * 1024


@pytest.mark.parametrize("before", [0, 3_000_000, 40_000_000], ids=["at once", "early", "late"])
def test_chunks_that_raise_leave_nothing(store: ObjectStore, before: int) -> None:
    """Also `ValueError` and `OSError`, which libraries raise for reasons of their own."""
    for number, error in enumerate([RuntimeError("mine"), ValueError("mine"), OSError(28, "mine")]):

        def chunks(error: Exception = error) -> Iterator[bytes]:
            for _ in range(before // 1_000_000):
                yield bytes(1_000_000)
            raise error

        name = f"broken-{number}"
        with pytest.raises(type(error)) as caught:
            store.put_stream(name, chunks())
        assert caught.value is error
        assert store.head(name) is None
        assert [*store.list()] == []
        with pytest.raises(ObjectMissing):
            store.get(name)


def test_an_interrupt_in_the_middle_leaves_nothing(store: ObjectStore) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(35):
            yield bytes(1_000_000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put_stream("dump", chunks())
    assert store.head("dump") is None


def test_a_stream_that_failed_can_be_sent_again(store: ObjectStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.put_stream("dump", chunks())
    assert store.put_stream("dump", [b"whole"]) == 5
    assert store.get("dump") == b"whole"


def test_a_stream_may_come_from_another_store(place: Place, store: ObjectStore) -> None:
    content = bytes(range(256)) * 4096 * 34
    store.put_stream("original", [content], expected_size=len(content))
    store.put_stream("copy", store.read("original"), expected_size=len(content))
    assert store.get("copy") == content


def test_what_is_missing(store: ObjectStore) -> None:
    store.put("folder/object", b"")
    for name in ("missing", "folder", "folder/missing", "folder/object2", "deep/er/missing"):
        assert store.head(name) is None
        assert store.local_path(name) is None
        with pytest.raises(ObjectMissing, match=name):
            store.get(name)
        with pytest.raises(ObjectMissing, match=name):
            next(store.read(name))


def test_delete_twice_is_fine(store: ObjectStore) -> None:
    store.put("a/name", b"x")
    store.delete("a/name")
    assert store.head("a/name") is None
    assert [*store.list()] == []
    store.delete("a/name")
    store.delete("never/was/there")
    store.put("a/name", b"y")
    assert store.get("a/name") == b"y"


def test_head_tells_size_and_time(store: ObjectStore) -> None:
    store.put("name", b"12345")
    info = store.head("name")
    assert info is not None
    assert (info.name, info.size) == ("name", 5)
    assert info.modified.tzinfo is not None
    assert abs(datetime.now(UTC) - info.modified) < timedelta(hours=1)
    (listed,) = store.list()
    assert (listed.name, listed.size) == ("name", 5)
    # Some servers keep a fraction of a second in one answer and not in the other.
    assert abs(listed.modified - info.modified) < timedelta(seconds=1)


def test_list_goes_by_the_text_of_the_prefix(store: ObjectStore) -> None:
    names = ["a", "a-b", "b/a", "b/a/deep", "b/ab", "b/c/a", "bc"]
    # A folder of files cannot hold the file `b/a` and what is below it.
    names = [name for name in names if name != "b/a/deep"]
    for name in names:
        store.put(name, b"x")

    def listed(prefix: str = "", *, recursive: bool = True) -> list[str]:
        return sorted(info.name for info in store.list(prefix, recursive=recursive))

    assert listed() == sorted(names)
    assert listed("a") == ["a", "a-b"]
    assert listed("b") == ["b/a", "b/ab", "b/c/a", "bc"]
    assert listed("b/") == ["b/a", "b/ab", "b/c/a"]
    assert listed("b/a") == ["b/a", "b/ab"]
    assert listed("b/c/a") == ["b/c/a"]
    assert listed("missing/") == []
    assert listed("a/") == []
    assert listed(recursive=False) == ["a", "a-b", "bc"]
    assert listed("b/", recursive=False) == ["b/a", "b/ab"]
    assert listed("b/c", recursive=False) == []


def test_an_empty_store_lists_nothing(store: ObjectStore) -> None:
    assert [*store.list()] == []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_names(store: ObjectStore, name: str) -> None:
    store.put(name, b"x")
    assert store.get(name) == b"x"
    assert b"".join(store.read(name)) == b"x"
    assert [info.name for info in store.list()] == [name]
    assert [info.name for info in store.list(name)] == [name]
    with pytest.raises(ObjectExists):
        store.put_stream(name, [b"y"])
    store.delete(name)
    assert store.head(name) is None


def test_hostile_names_are_refused_by_every_verb(store: ObjectStore) -> None:
    verbs: list[Callable[[str], object]] = [
        lambda name: store.put(name, b"x"),
        lambda name: store.put_stream(name, [b"x"]),
        store.get,
        lambda name: next(store.read(name)),
        store.head,
        store.delete,
        store.local_path,
    ]
    for name in HOSTILE_NAMES:
        for verb in verbs:
            with pytest.raises(UsageError, match="is refused"):
                verb(name)
    for prefix in ("/", "../", "a/../", "nul\0"):
        with pytest.raises(UsageError, match="is refused"):
            next(store.list(prefix))
    assert [*store.list()] == []


def test_another_opening_sees_the_same(place: Place, store: ObjectStore) -> None:
    if "reopening" in place.lacks:
        pytest.skip("memory is of one store alone")
    store.put("name", b"x")
    other = place.open()
    assert other.url == store.url
    assert other.get("name") == b"x"
    with pytest.raises(ObjectExists):
        other.put("name", b"y")


def test_a_local_path_holds_the_object(store: ObjectStore) -> None:
    store.put("folder/name", b"content")
    path = store.local_path("folder/name")
    assert path is None or path.read_bytes() == b"content"


def test_free_bytes_is_a_number_or_unknown(store: ObjectStore) -> None:
    free = store.free_bytes()
    assert free is None or free > 0
