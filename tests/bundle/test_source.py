"""Where bundles come from: what need not be read is not read."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle_support import pack, sound

from alexandria_backup.bundle.opened import OpenedBundle
from alexandria_backup.bundle.reader import read_bundle
from alexandria_backup.bundle.source import object_source
from alexandria_backup.errors import BundleDamaged
from alexandria_backup.sealing.blocks import Compression
from alexandria_backup.sealing.encryption import Identity, sealed_chunks
from alexandria_backup.storage.memory import MemoryStore


class CountingStore(MemoryStore):
    """A store that counts the bytes that are taken from it."""

    taken = 0

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        for chunk in super().read(name, start):
            self.taken += len(chunk)
            yield chunk


@pytest.mark.parametrize("compression", list(Compression))
def test_a_manifest_in_a_store_is_found_from_its_end(
    tmp_path: Path, compression: Compression
) -> None:
    (tmp_path / "large").write_bytes(random.Random(1).randbytes(12 << 20))
    data, tail = pack({"config": [tmp_path / "large"]}, compression=compression)
    store = CountingStore()
    store.put("bundle", data)
    opened = OpenedBundle(lambda: object_source(store, "bundle", lambda: ()))
    assert opened.manifest().tail == tail
    assert store.taken < 4_000
    assert opened.read().differences == ()


def test_a_sealed_bundle_in_a_store_is_read_whole(tmp_path: Path) -> None:
    identity = Identity.generate()
    store = CountingStore()
    store.put("bundle", b"".join(sealed_chunks([sound().made()], [identity.recipient])))
    source = object_source(store, "bundle", lambda: (identity,))
    assert not source.seekable
    assert OpenedBundle(lambda: source).manifest().tail.entries == 3


def test_a_bundle_in_a_store_that_was_cut_off_is_refused() -> None:
    store = CountingStore()
    store.put("bundle", sound().made()[:-10])
    source = object_source(store, "bundle", lambda: ())
    with pytest.raises(BundleDamaged, match="cut off"):
        read_bundle(source)
