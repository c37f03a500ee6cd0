from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repository_support import KEY, SIGNED, STRANGER, Site

from alexandria_backup.errors import StoreUnreachable, WrongKey
from alexandria_backup.repository.access import Access
from alexandria_backup.repository.layout import LEDGER, Kind, ledger_name, parse
from alexandria_backup.repository.ledger import Ledger, LedgerReport
from alexandria_backup.repository.ledger_entry import FORM, Action, LedgerEntry, new_entry
from alexandria_backup.sealing.signing import SigningKey
from alexandria_backup.storage.faults import Fault, FaultyStore, How
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectStore

ID = "0" * 32
SNAPSHOT = "shop-20261123T120000Z-k3x9"


def access(
    store: ObjectStore, trusted: SigningKey | None = KEY, *, key: SigningKey | None = KEY
) -> Access:
    return Access(
        store=store,
        repository=ID,
        trusted=(trusted.trusted,) if trusted else (),
        key=key if trusted else None,
    )


def ledger_in(store: MemoryStore) -> Ledger:
    return Ledger(access(store))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    return ledger_in(store)


def put(store: MemoryStore, *heads: str, entries: int, action: Action = Action.VERIFY) -> str:
    """Write an entry as a machine does that saw these heads, whatever there is by now."""
    entry = new_entry(
        ID, action, snapshots=(), reason=None, details={}, heads=heads, entries=entries, run=None
    )
    data = FORM.encode(entry, KEY)
    store.put(ledger_name(entry.at, sha256(data).hexdigest()), data)
    return sha256(data).hexdigest()


class TestAppending:
    def test_each_entry_names_the_one_before(self, ledger: Ledger) -> None:
        digests = [ledger.append(Action.INIT), *(ledger.append(Action.VERIFY) for _ in range(3))]
        report = ledger.read()
        assert list(report.entries) == digests
        assert report.heads == ledger.heads() == (digests[-1],)
        assert [entry.heads for entry in report.entries.values()] == [
            (),
            *((digest,) for digest in digests[:-1]),
        ]
        assert report.problems == ()

    def test_the_name_is_the_digest(self, store: MemoryStore, ledger: Ledger) -> None:
        digest = ledger.append(Action.INIT)
        (info,) = store.list(LEDGER)
        assert parse(info.name).key == digest == sha256(store.get(info.name)).hexdigest()

    def test_what_happened_is_kept(self, ledger: Ledger) -> None:
        ledger.append(Action.INIT)
        ledger.append(Action.SNAPSHOT, snapshots=(SNAPSHOT,), run="run")
        ledger.append(Action.DELETE, snapshots=(SNAPSHOT,), reason="a „reason“\nof two lines")
        report = ledger.read()
        assert report.removed[SNAPSHOT].reason == "a „reason“\nof two lines"
        assert report.taken[SNAPSHOT].run == "run"

    def test_without_the_key_a_signed_one_takes_nothing(self, store: MemoryStore) -> None:
        reader = Ledger(access(store, key=None))
        with pytest.raises(WrongKey, match="no signing key"):
            reader.append(Action.VERIFY)
        assert [*store.list()] == []

    def test_an_answer_that_was_lost_makes_no_second_entry(self, store: MemoryStore) -> None:
        broken = FaultyStore(store, [Fault(verb="put", how=How.AFTER)])
        with pytest.raises(StoreUnreachable):
            Ledger(access(broken, None)).append(Action.INIT)
        assert len([*store.list(LEDGER)]) == 1

    def test_a_damaged_entry_does_not_stop_it(self, store: MemoryStore, ledger: Ledger) -> None:
        ledger.append(Action.INIT)
        ledger.append(Action.VERIFY)
        name = max(info.name for info in store.list(LEDGER))
        store.delete(name)
        store.put(name, b"damaged")
        ledger.append(Action.VERIFY)
        assert any("SHA-256 is not its name" in problem for problem in ledger.read().problems)


class TestForks:
    """Two machines may write at once: nothing rests on a lock."""

    def test_a_fork_is_joined_by_the_next_entry(self, store: MemoryStore, ledger: Ledger) -> None:
        first = ledger.append(Action.INIT)
        ours, theirs = put(store, first, entries=1), put(store, first, entries=1)
        assert set(ledger.heads()) == {ours, theirs}
        assert set(ledger.read().heads) == {ours, theirs}
        joined = ledger.append(Action.VERIFY)
        report = ledger.read()
        assert set(report.entries[joined].heads) == {ours, theirs}
        assert report.heads == (joined,)
        assert report.problems == ()

    def test_many_writers_at_once(self, store: MemoryStore, ledger: Ledger) -> None:
        ledger.append(Action.INIT)
        with ThreadPoolExecutor(8) as threads:
            digests = [*threads.map(lambda _: ledger_in(store).append(Action.VERIFY), range(40))]
        report = ledger.read()
        assert set(digests) < set(report.entries)
        assert report.problems == ()
        assert set(ledger.heads()) == set(report.heads)
        joined = ledger.append(Action.VERIFY)
        assert ledger.read().entries[joined].entries == 41


shapes = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=12)


@given(shapes)
@settings(max_examples=20, deadline=None)
def test_the_heads_are_found_whatever_the_shape(steps: list[tuple[bool, int]]) -> None:
    """Some writers see everything, others only what was there some entries ago."""
    store = MemoryStore()
    ledger = ledger_in(store)
    history: list[tuple[tuple[str, ...], int]] = [((ledger.append(Action.INIT),), 1)]
    for fresh, back in steps:
        if fresh:
            ledger.append(Action.VERIFY)
        else:
            heads, entries = history[max(0, len(history) - 1 - back)]
            put(store, *heads, entries=entries)
        history.append((ledger.read().heads, len(ledger.read().entries)))
    assert set(ledger.heads()) == set(ledger.read().heads)
    assert ledger.read().problems == ()


def test_a_long_one_is_appended_to_without_reading_it(store: MemoryStore, ledger: Ledger) -> None:
    for _ in range(60):
        ledger.append(Action.VERIFY)
    counting = FaultyStore(store, [])
    Ledger(access(counting)).append(Action.VERIFY)
    assert counting.calls["get"] == 1
    assert len(ledger.read().heads) == 1


def test_a_ledger_of_strangers_is_not_believed(store: MemoryStore) -> None:
    Ledger(access(store, STRANGER, key=STRANGER)).append(Action.INIT)
    report = ledger_in(store).read()
    assert report.entries == {}
    assert "no trusted key has signed" in report.problems[0]


def test_an_error_of_the_store_is_no_empty_ledger(store: MemoryStore, ledger: Ledger) -> None:
    ledger.append(Action.INIT)
    for verb in ("list", "get"):
        broken = FaultyStore(store, [Fault(verb=verb, how=How.BEFORE, call=0)])
        with pytest.raises(StoreUnreachable):
            Ledger(access(broken)).read()


def test_the_loss_of_the_newest_shows_on_a_machine_that_has_seen_it(tmp_path: Path) -> None:
    site = Site(tmp_path, SIGNED)
    site.snapshot()
    newest = max(i.name for i in site.store.list(LEDGER) if parse(i.name).kind is Kind.LEDGER_ENTRY)
    assert site.repository().lost_heads() == ()
    site.store.delete(newest)
    assert site.repository().ledger.read().problems == ()
    assert site.repository().lost_heads() == (parse(newest).key,)


# -- fuzzing -----------------------------------------------------------------------------------

GOLDEN = FORM.encode(
    new_entry(ID, Action.SNAPSHOT, snapshots=(SNAPSHOT,), reason="x", details={"a": "b"},
              heads=("ab" * 32,), entries=3, run="run"),
    None,
)  # fmt: skip


def read_as_an_entry(data: bytes) -> LedgerReport:
    store = MemoryStore()
    store.put(f"{LEDGER}20261123T120000.000000Z-{sha256(data).hexdigest()}", data)
    return Ledger(access(store, None)).read()


def mutate(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, text in changes:
        at = place % (len(data) + 1)
        data = data[:at] + text + data[at + length :]
    return data


changes = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 30), st.binary(max_size=8)), max_size=4
)


def refused_or_read(data: bytes) -> None:
    report = read_as_an_entry(data)
    assert bool(report.entries) != bool(report.problems) or report.entries
    for entry in report.entries.values():
        assert isinstance(entry, LedgerEntry)
    assert all("\x1b" not in problem for problem in report.problems)


@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    refused_or_read(data)


@given(changes)
@settings(max_examples=100)
def test_a_changed_entry_is_refused_or_read(changes: list[tuple[int, int, bytes]]) -> None:
    refused_or_read(mutate(GOLDEN, changes))


@pytest.mark.campaign
@given(changes)
@settings(max_examples=5_000, deadline=None)
def test_many_changed_entries_are_refused_or_read(changes: list[tuple[int, int, bytes]]) -> None:
    refused_or_read(mutate(GOLDEN, changes))
