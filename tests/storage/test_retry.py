"""Trying again, where that is safe and nowhere else."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from alexandria_backup.errors import (
    ObjectExists,
    ObjectMissing,
    StorageError,
    StoreDenied,
    StoreUnreachable,
)
from alexandria_backup.events import Event, Note
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.retry import Patience, RetryingStore

PATIENCE = Patience(tries=3, first_pause=1.0, longest_pause=1.5)


class World:
    """A store in memory, with faults, behind retries; pauses are noted, not waited for."""

    def __init__(
        self,
        *faults: Fault,
        patience: Patience = PATIENCE,
        slow: Callable[[float], object] = time.sleep,
    ) -> None:
        self.memory = MemoryStore()
        self.memory.put("there", b"content")
        self.faulty = FaultyStore(self.memory, faults, sleep=slow)
        self.pauses: list[float] = []
        self.events: list[Event] = []
        #: Set as soon as anything was told.
        self.heard = threading.Event()
        self.store = RetryingStore(self.faulty, patience, emit=self._emit, sleep=self.pauses.append)

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self.heard.set()

    def call(self, verb: Verb) -> object:
        verbs = {
            "put": lambda: self.store.put("new", b"data"),
            "put_stream": lambda: self.store.put_stream("new", iter([b"da", b"ta"])),
            "get": lambda: self.store.get("there"),
            "read": lambda: b"".join(self.store.read("there")),
            "head": lambda: self.store.head("there"),
            "list": lambda: [*self.store.list()],
            "delete": lambda: self.store.delete("there"),
        }
        return verbs[verb]()


VERBS: list[Verb] = ["put", "put_stream", "get", "read", "head", "list", "delete"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_fails_twice_is_done_at_the_third_try(verb: Verb) -> None:
    untroubled = World()
    world = World(
        Fault(verb=verb, how=How.BEFORE, call=1), Fault(verb=verb, how=How.BEFORE, call=2)
    )
    expected = untroubled.call(verb)
    if verb in {"head", "list"}:
        assert world.call(verb)
    else:
        assert world.call(verb) == expected
    assert world.faulty.calls[verb] == 3
    assert [info.name for info in world.memory.list()] == [
        info.name for info in untroubled.memory.list()
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_tries_are_bounded_and_pauses_grow(verb: Verb) -> None:
    world = World(Fault(verb=verb, how=How.BEFORE, call=0))
    with pytest.raises(StoreUnreachable):
        world.call(verb)
    assert world.faulty.calls[verb] == 3
    first, second = world.pauses
    assert 0.5 <= first <= 1.0
    assert 0.75 <= second <= 1.5


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("error", [StoreDenied, StorageError, ObjectMissing])
def test_only_what_may_pass_by_itself_is_tried_again(verb: Verb, error: type[StorageError]) -> None:
    world = World(Fault(verb=verb, how=How.BEFORE, error=error))
    with pytest.raises(error):
        world.call(verb)
    assert world.faulty.calls[verb] == 1
    assert world.pauses == []


def test_a_put_whose_answer_was_lost_is_found_to_be_done() -> None:
    world = World(Fault(verb="put", how=How.AFTER))
    world.store.put("new", b"data")
    assert world.memory.get("new") == b"data"


def test_a_put_that_met_another_object_is_refused() -> None:
    world = World(Fault(verb="put", how=How.BEFORE))
    with pytest.raises(ObjectExists):
        world.store.put("there", b"other")
    assert world.memory.get("there") == b"content"


def test_an_object_that_was_there_before_is_not_ours() -> None:
    world = World()
    with pytest.raises(ObjectExists):
        world.store.put("there", b"content")


def test_a_stream_is_not_repeated_once_a_chunk_was_taken() -> None:
    world = World(Fault(verb="put_stream", how=How.MIDDLE))
    with pytest.raises(StoreUnreachable):
        world.call("put_stream")
    assert world.faulty.calls["put_stream"] == 1
    assert world.memory.head("new") is None


def test_a_read_is_not_repeated_once_a_chunk_was_given() -> None:
    world = World(Fault(verb="read", how=How.MIDDLE))
    chunks = world.store.read("there")
    assert next(chunks) == b"con"
    with pytest.raises(StoreUnreachable):
        next(chunks)
    assert world.faulty.calls["read"] == 1


def test_a_listing_that_breaks_is_read_again_and_whole() -> None:
    world = World(Fault(verb="list", how=How.MIDDLE))
    world.memory.put("too", b"x")
    assert [info.name for info in world.store.list()] == ["there", "too"]


def test_chunks_that_raise_come_through() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x"
        raise StoreUnreachable("the source of the copy")

    world = World()
    with pytest.raises(StoreUnreachable, match="the source of the copy"):
        world.store.put_stream("new", chunks())
    assert world.faulty.calls["put_stream"] == 1


def test_an_empty_object_is_read_through() -> None:
    world = World()
    world.memory.put("empty", b"")
    assert [*world.store.read("empty")] == []


# ── what is told, and how long it is borne ───────────────────────────────────────────────────────


def told(world: World) -> list[str]:
    return [event.message for event in world.events if isinstance(event, Note)]


@pytest.mark.parametrize("verb", VERBS)
def test_each_further_try_is_told(verb: Verb) -> None:
    world = World(Fault(verb=verb, how=How.BEFORE, call=1))
    world.call(verb)
    (line,) = told(world)
    assert line.endswith(" s")
    assert "trying again in" in line


@pytest.mark.parametrize("verb", VERBS)
def test_no_further_try_is_begun_after_the_whole_time(verb: Verb) -> None:
    world = World(Fault(verb=verb, how=How.BEFORE, call=0), patience=Patience(tries=99, whole=0.0))
    with pytest.raises(StoreUnreachable):
        world.call(verb)
    assert world.faulty.calls[verb] == 1
    assert world.pauses == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_store_that_is_silent_is_told_while_it_is_silent(verb: Verb) -> None:
    # The store answers only when its silence was told.
    world = World(
        Fault(verb=verb, how=How.SLOW),
        patience=Patience(quiet=0.01),
        slow=lambda _: world.heard.wait(30),
    )
    world.call(verb)
    assert "has not answered for" in told(world)[0]


def test_a_slow_source_is_no_silent_store() -> None:
    world = World(patience=Patience(quiet=0.01))

    def slow() -> Iterator[bytes]:
        before = told(world)
        time.sleep(0.1)
        assert told(world) == before
        yield b"data"

    world.store.put_stream("new", slow())


def test_a_slow_reader_is_no_silent_store() -> None:
    world = World(patience=Patience(quiet=0.01))
    for _ in world.store.read("there"):
        before = told(world)
        time.sleep(0.1)
        assert told(world) == before
