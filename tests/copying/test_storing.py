"""Parts are stored beside what reads them: in bounds, and without an error that nobody hears."""

from collections.abc import Iterator
from threading import Event

import pytest

from alexandria_backup.copying import storing
from alexandria_backup.copying.storing import Storing
from alexandria_backup.errors import StoreFull
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.part_sealing import PartSealing
from alexandria_backup.storage.memory import MemoryStore

SEALING = PartSealing(recipients=(), digest_key=b"k" * 32)
#: Long enough for any machine; nothing waits so long unless it hangs.
PATIENCE_S = 60


class SlowStore(MemoryStore):
    """Stores nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = Event()
        self.asked = 0

    def put(self, name: str, data: bytes) -> None:
        self.asked += 1
        assert self.may.wait(PATIENCE_S)
        super().put(name, data)


class FullStore(MemoryStore):
    """Has no room."""

    def put(self, name: str, data: bytes) -> None:
        raise StoreFull("no room is left")


@pytest.fixture
def slow() -> Iterator[SlowStore]:
    store = SlowStore()
    yield store
    store.may.set()


def storing_in(store: MemoryStore) -> Storing:
    return Storing(ObjectShelf(store, SEALING))


def test_parts_come_out_in_the_order_of_their_puts() -> None:
    store = MemoryStore()
    under_way = storing_in(store)
    texts = [f"row {number}\n".encode() * 100 for number in range(50)]
    parts = [under_way.put(text) for text in texts]
    under_way.settle()
    assert [under_way.shelf.get(part.result()) for part in parts] == texts
    assert len(list(store.list())) == len(texts)
    assert under_way.shelf.stored_bytes == sum(info.size for info in store.list())
    under_way.close()


def test_the_next_part_is_taken_while_one_is_being_stored(slow: SlowStore) -> None:
    under_way = storing_in(slow)
    first, second = under_way.put(b"one"), under_way.put(b"two")
    assert not first.done()
    slow.may.set()
    under_way.settle()
    assert (first.result().raw_bytes, second.result().raw_bytes) == (3, 3)
    under_way.close()


def test_no_more_is_held_in_memory_than_was_said(
    slow: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_AHEAD_BYTES", 100)
    under_way = storing_in(slow)
    under_way.put(b"a" * 60)
    waited: list[bool] = []
    settle = under_way._settle_oldest

    def settled() -> None:
        waited.append(slow.may.is_set())
        slow.may.set()
        settle()

    monkeypatch.setattr(under_way, "_settle_oldest", settled)
    under_way.put(b"b" * 40)
    assert waited == []
    under_way.put(b"c")
    assert waited[0] is False
    under_way.close()


def test_what_goes_wrong_is_heard_of_at_the_end_at_the_latest() -> None:
    under_way = storing_in(FullStore())
    part = under_way.put(b"one")
    with pytest.raises(StoreFull):
        under_way.settle()
    with pytest.raises(StoreFull):
        part.result()
    under_way.close()


def test_what_goes_wrong_is_heard_of_by_the_next_part_that_finds_it() -> None:
    under_way = storing_in(FullStore())
    # As many as may be under way, and one more.
    with pytest.raises(StoreFull):
        [under_way.put(bytes([number])) for number in range(17)]
    under_way.close()


def test_what_was_abandoned_bothers_nobody_who_goes_on(slow: SlowStore) -> None:
    under_way = storing_in(slow)
    for number in range(4):
        under_way.put(bytes([number]))
    under_way.abandon()
    slow.may.set()
    part = under_way.put(b"another")
    under_way.settle()
    assert part.result().raw_bytes == len(b"another")
    under_way.close()
