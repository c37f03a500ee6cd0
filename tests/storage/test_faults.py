"""A store that fails on purpose fails as it was told, and only then."""

import pytest

from alexandria_backup.errors import ObjectMissing, StoreFull, StoreUnreachable
from alexandria_backup.storage.faults import Fault, FaultyStore, How
from alexandria_backup.storage.memory import MemoryStore

CONTENT = bytes(range(256)) * 8192  # two chunks of memory's


def faulty(*faults: Fault) -> FaultyStore:
    memory = MemoryStore()
    memory.put("a", CONTENT)
    memory.put("b", b"")
    return FaultyStore(memory, faults)


def test_without_a_fault_everything_passes() -> None:
    store = faulty()
    store.put("c", b"x")
    assert store.put_stream("d", [b"y"]) == 1
    assert store.get("a") == CONTENT
    assert b"".join(store.read("a")) == CONTENT
    assert store.head("x") is None
    assert [info.name for info in store.list()] == ["a", "b", "c", "d"]
    store.delete("a")
    with pytest.raises(ObjectMissing):
        store.get("a")
    assert store.local_path("a") is None
    assert store.free_bytes() is None


def test_before_and_after() -> None:
    store = faulty(Fault(verb="put", how=How.BEFORE), Fault(verb="put", how=How.AFTER, call=2))
    with pytest.raises(StoreUnreachable, match="on purpose"):
        store.put("c", b"x")
    assert store.head("c") is None
    with pytest.raises(StoreUnreachable, match="on purpose"):
        store.put("c", b"x")
    assert store.get("c") == b"x"


def test_a_stream_that_breaks_in_the_middle_leaves_nothing() -> None:
    store = faulty(Fault(verb="put_stream", how=How.MIDDLE, error=StoreFull))
    with pytest.raises(StoreFull):
        store.put_stream("c", [b"x", b"y"])
    assert store.head("c") is None


def test_reads_that_break_and_reads_that_lie() -> None:
    store = faulty(
        Fault(verb="read", how=How.MIDDLE, call=1),
        Fault(verb="read", how=How.SHORT, call=2),
        Fault(verb="get", how=How.MIDDLE, call=1),
        Fault(verb="get", how=How.SHORT, call=2),
    )
    with pytest.raises(StoreUnreachable):
        b"".join(store.read("a"))
    assert b"".join(store.read("a")) == CONTENT[: 512 * 1024]
    with pytest.raises(StoreUnreachable):
        store.get("a")
    assert store.get("a") == CONTENT[: len(CONTENT) // 2]


def test_listings_that_break_and_listings_that_lie() -> None:
    store = faulty(
        Fault(verb="list", how=How.MIDDLE, call=1), Fault(verb="list", how=How.SHORT, call=2)
    )
    listing = store.list()
    assert next(listing).name == "a"
    with pytest.raises(StoreUnreachable):
        next(listing)
    assert [info.name for info in store.list()] == ["a"]


def test_slow_and_always() -> None:
    pauses: list[float] = []
    memory = MemoryStore()
    store = FaultyStore(
        memory,
        [Fault(verb="head", how=How.SLOW, call=0, seconds=3.0)],
        sleep=pauses.append,
    )
    store.head("x")
    store.head("x")
    assert pauses == [3.0, 3.0]
    assert store.calls["head"] == 2
