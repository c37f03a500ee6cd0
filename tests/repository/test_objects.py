import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from shelf_worker import put_and_get

from alexandria_backup.errors import (
    SnapshotDamaged,
    StorageError,
    StoreUnreachable,
    WrongKey,
)
from alexandria_backup.repository import objects, part_sealing
from alexandria_backup.repository.layout import OBJECTS, object_name
from alexandria_backup.repository.manifest_parts import LARGEST_OBJECT_BYTES, StoredPart
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.part_sealing import PartSealing
from alexandria_backup.sealing.encryption import Identity, seal
from alexandria_backup.storage.faults import Fault, FaultyStore, How, Verb
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectStore

KEY = bytes(range(32))
OURS = Identity.generate()
PLAIN = PartSealing(recipients=(), digest_key=KEY)
SEALED = PartSealing(recipients=(OURS.recipient,), digest_key=KEY)
TEXT = b"1\tsome\n2\trows\n" * 50

both = pytest.mark.parametrize("sealing", [PLAIN, SEALED], ids=["plain", "sealed"])


def names(store: ObjectStore) -> list[str]:
    return sorted(info.name for info in store.list(OBJECTS))


def overwrite(store: ObjectStore, name: str, data: bytes) -> None:
    store.delete(name)
    store.put(name, data)


@both
@given(text=st.binary(max_size=300))
def test_what_is_put_is_got(sealing: PartSealing, text: bytes) -> None:
    store = MemoryStore()
    part = ObjectShelf(store, sealing).put(text)
    assert ObjectShelf(store, None).get(part, (OURS,)) == text
    stored = store.get(object_name(part.object))
    assert (part.object, part.bytes) == (sha256(stored).hexdigest(), len(stored))
    assert (part.raw_bytes, part.raw_digest) == (len(text), sealing.digest(text))


def test_without_this_program_two_tools_open_it() -> None:
    store = MemoryStore()
    plain, sealed = (ObjectShelf(store, sealing).put(TEXT) for sealing in (PLAIN, SEALED))
    assert zstd.decompress(store.get(object_name(plain.object))) == TEXT
    data = store.get(object_name(sealed.object))
    assert zstd.decompress(objects.unseal(data, (OURS,))) == TEXT


@both
def test_the_largest_part_fits_whatever_is_in_it(sealing: PartSealing) -> None:
    import os  # noqa: PLC0415 - bytes that nothing compresses

    store = MemoryStore()
    part = ObjectShelf(store, sealing).put(os.urandom(LARGEST_OBJECT_BYTES))
    assert StoredPart.model_validate(part.model_dump()) == part
    with pytest.raises(ValueError, match="32 MiB"):
        ObjectShelf(store, sealing).put(bytes(LARGEST_OBJECT_BYTES + 1))


class TestStoringTwice:
    @both
    def test_within_a_run_bytes_are_stored_once(self, sealing: PartSealing) -> None:
        store = MemoryStore()
        shelf = ObjectShelf(store, sealing, present={})
        assert shelf.put(TEXT) == shelf.put(TEXT)
        assert len(names(store)) == 1
        assert shelf.stored_bytes == sum(info.size for info in store.list())

    def test_what_is_known_and_present_is_not_stored_again(self) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, SEALED).put(TEXT)
        present = {info.name: info.size for info in store.list(OBJECTS)}
        shelf = ObjectShelf(store, SEALED, present=present, known={part.raw_digest: part})
        assert shelf.put(TEXT) == part
        assert shelf.stored_bytes == 0

    @pytest.mark.parametrize("present", [None, {}, "of another size"])
    def test_what_is_known_and_absent_is_stored(self, present: object) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, SEALED).put(TEXT)
        name = object_name(part.object)
        store.delete(name)
        listed = {name: part.bytes - 1} if isinstance(present, str) else present
        shelf = ObjectShelf(store, SEALED, present=listed, known={part.raw_digest: part})  # type: ignore[arg-type]
        again = shelf.put(TEXT)
        assert again.object != part.object
        assert shelf.get(again) == TEXT

    def test_the_same_bytes_of_two_runs_are_one_object_where_nothing_is_sealed(self) -> None:
        store = MemoryStore()
        first, second = ObjectShelf(store, PLAIN), ObjectShelf(store, PLAIN)
        assert first.put(TEXT) == second.put(TEXT)
        assert second.stored_bytes == 0

    def test_a_damaged_object_is_replaced(self) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, PLAIN).put(TEXT)
        name = object_name(part.object)
        overwrite(store, name, b"x" * part.bytes)
        shelf = ObjectShelf(store, PLAIN)
        assert shelf.put(TEXT) == part
        assert shelf.stored_bytes == part.bytes
        assert ObjectShelf(store, PLAIN).get(part) == TEXT

    def test_one_that_cannot_be_read_is_replaced(self) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, PLAIN).put(TEXT)
        broken = FaultyStore(store, [Fault(verb="get", how=How.BEFORE, call=1, error=StorageError)])
        shelf = ObjectShelf(broken, PLAIN)
        assert shelf.put(TEXT) == part
        assert shelf.stored_bytes == part.bytes

    def test_a_store_that_does_not_answer_is_no_reason_to_replace(self) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, PLAIN).put(TEXT)
        broken = FaultyStore(store, [Fault(verb="get", how=How.BEFORE, call=0)])
        with pytest.raises(StoreUnreachable):
            ObjectShelf(broken, PLAIN).put(TEXT)
        assert broken.calls["delete"] == 0
        assert ObjectShelf(store, PLAIN).get(part) == TEXT


def _cut(data: bytes) -> bytes:
    return data[:-1]


def _grown(data: bytes) -> bytes:
    return data + b"x"


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


class TestDamage:
    """Each layer finds what is its own, and says so."""

    @both
    @pytest.mark.parametrize("listed", [True, False])
    @pytest.mark.parametrize(
        ("damage", "words"),
        [(_cut, "bytes, and"), (_grown, "more than"), (_flipped, "SHA-256 is not its name")],
    )
    def test_stored_bytes(
        self, sealing: PartSealing, damage: Callable[[bytes], bytes], words: str, listed: bool
    ) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, sealing).put(TEXT)
        name = object_name(part.object)
        overwrite(store, name, damage(store.get(name)))
        shelf = ObjectShelf(store, sealing, present={name: part.bytes} if listed else None)
        with pytest.raises(SnapshotDamaged, match=words) as caught:
            shelf.get(part, (OURS,))
        assert name in str(caught.value)

    @both
    def test_a_missing_object(self, sealing: PartSealing) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, sealing).put(TEXT)
        store.delete(object_name(part.object))
        with pytest.raises(SnapshotDamaged, match="is missing"):
            ObjectShelf(store, sealing).get(part, (OURS,))

    def test_another_recipient(self) -> None:
        store = MemoryStore()
        stranger = Identity.generate()
        stored = seal(zstd.compress(TEXT), (stranger.recipient,))
        with pytest.raises(WrongKey, match=r"object `objects/.*other recipients"):
            ObjectShelf(store, SEALED).get(self._kept(store, stored), (OURS,))

    @pytest.mark.parametrize(
        ("stored", "words"),
        [
            (b"no zstd", "cannot be opened: compressed data are damaged"),
            (seal(b"no zstd", (OURS.recipient,)), "cannot be opened: compressed data are damaged"),
            (zstd.compress(TEXT + b"x"), "cannot be opened: compressed data hold more"),
            (zstd.compress(TEXT[1:]), "holds 699 bytes, and 700 were stored"),
            (zstd.compress(b"x" + TEXT[1:]), "holds other bytes"),
        ],
    )
    def test_what_is_inside(self, stored: bytes, words: str) -> None:
        store = MemoryStore()
        with pytest.raises(SnapshotDamaged, match=words):
            ObjectShelf(store, SEALED).get(self._kept(store, stored), (OURS,))

    def test_a_digest_of_another_key_is_no_damage(self) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, PLAIN).put(TEXT)
        other = PartSealing(recipients=(), digest_key=bytes(32))
        assert ObjectShelf(store, other).get(part) == TEXT

    def _kept(self, store: MemoryStore, stored: bytes) -> StoredPart:
        name = sha256(stored).hexdigest()
        store.put(object_name(name), stored)
        return StoredPart(
            object=name,
            bytes=len(stored),
            raw_bytes=len(TEXT),
            raw_digest=PLAIN.digest(TEXT),
        )


class TestFaultsOfTheStore:
    """Whatever fails, and however: an object is there whole, or an error is raised."""

    @pytest.mark.parametrize("how", [How.BEFORE, How.AFTER, How.MIDDLE])
    @pytest.mark.parametrize("verb", ["put", "get", "delete", "head", "read"])
    def test_each_verb(self, verb: Verb, how: How) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, PLAIN).put(TEXT)
        overwrite(store, object_name(part.object), b"damaged")
        broken = FaultyStore(store, [Fault(verb=verb, how=how)])
        shelf = ObjectShelf(broken, PLAIN)
        try:
            shelf.put(TEXT)
            assert ObjectShelf(broken, PLAIN).get(part) == TEXT
        except StoreUnreachable:
            pass
        assert ObjectShelf(store, PLAIN).put(TEXT) == part
        assert ObjectShelf(store, PLAIN).get(part) == TEXT

    @pytest.mark.parametrize("verb", ["get", "read"])
    def test_an_answer_that_ends_early_is_not_taken_for_the_object(self, verb: Verb) -> None:
        store = MemoryStore()
        part = ObjectShelf(store, PLAIN).put(TEXT)
        present = {object_name(part.object): part.bytes} if verb == "get" else None
        broken = FaultyStore(store, [Fault(verb=verb, how=How.SHORT)])
        with pytest.raises(SnapshotDamaged, match="bytes, and"):
            ObjectShelf(broken, PLAIN, present=present).get(part)


def test_a_worker_reads_back_what_it_stored_and_nobody_else_does(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
        part, read_back = workers.submit(put_and_get, tmp_path, SEALED, TEXT).result()
    assert read_back == TEXT
    shelf = ObjectShelf(LocalStore(tmp_path), SEALED)
    with pytest.raises(WrongKey):
        shelf.get(part)
    assert shelf.get(part, (OURS,)) == TEXT


def test_broken_memory_is_found_before_anything_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    monkeypatch.setattr(part_sealing, "compress", lambda raw, _: zstd.compress(raw[:-1] + b"x"))
    with pytest.raises(SnapshotDamaged, match="does not open to the same bytes"):
        ObjectShelf(store, PLAIN).put(TEXT)
    assert names(store) == []


def test_the_key_is_not_shown() -> None:
    assert KEY.hex() not in repr(SEALED)
    assert repr(KEY) not in repr(SEALED)
    assert pickle.loads(pickle.dumps(SEALED)) == SEALED  # noqa: S301 - our own bytes
