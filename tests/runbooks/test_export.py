"""Exporting: what has been written has been read back, and nothing half-done is left."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alexandria_backup.archive.toc import Compression
from alexandria_backup.copying.archive_source import StoredFile
from alexandria_backup.copying.read_archive import read_archive
from alexandria_backup.errors import (
    ArchiveDamaged,
    ObjectExists,
    PrecheckRefused,
    SnapshotDamaged,
    SpaceMissing,
    UsageError,
)
from alexandria_backup.events import Event, Progress
from alexandria_backup.repository.entries import STORED, SnapshotEntry
from alexandria_backup.runbooks.export import (
    Exported,
    ExportRequest,
    export_snapshot,
    parse_format_version,
)
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectStore

GOLDEN = Path(__file__).parents[1] / "archive" / "data"
NAME = "out.pgdump"


class FullStore(LocalStore):
    """A folder on a disk that is all but full."""

    def free_bytes(self) -> int:
        return 100


class ForgetfulStore(MemoryStore):
    """A store that gives back other bytes than it was given."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        data = self.get(name)
        return iter([(data[:-100] + bytes(100))[start:]])


def exported(
    store: ObjectStore,
    archive: str = "1.16-gzip",
    compression: Compression = Compression.NONE,
    minor: int | None = None,
    events: list[Event] | None = None,
) -> Exported:
    source = StoredFile(store=LocalStore(GOLDEN), name=f"{archive}.pgdump")
    request = ExportRequest(
        entry=entry_of(source),
        archive=source,
        store=store,
        name=NAME,
        compression=compression,
        format_minor=minor,
    )
    return export_snapshot(request, (events if events is not None else []).append)


def entry_of(source: StoredFile) -> SnapshotEntry:
    return SnapshotEntry(
        id=source.name.removesuffix(".pgdump"),
        archive=source.name,
        bytes=source.size(),
        signed=None,
        problem=None,
        stored=datetime(2026, 11, 23, tzinfo=UTC),
        examined=STORED,
    )


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_a_file_and_an_object_hold_the_same(tmp_path: Path, compression: Compression) -> None:
    folder, bucket = LocalStore(tmp_path), MemoryStore()
    to_file = exported(folder, compression=compression)
    to_object = exported(bucket, compression=compression)
    assert to_file.location == str(tmp_path / NAME)
    assert to_object.location == f"{bucket.url}/{NAME}"
    assert (to_file.bytes, to_file.rows) == (to_object.bytes, to_object.rows) == (to_file.bytes, 23)
    contents = [
        read_archive(StoredFile(store=store, name=NAME), watch=lambda _: None, emit=[].append)
        for store in (folder, bucket)
    ]
    assert contents[0].contents == contents[1].contents
    # Only a file can be gone back in.
    assert any(entry.offset for entry in contents[0].entries)
    assert not any(entry.offset for entry in contents[1].entries)


def test_a_file_of_the_same_form_is_the_same_file(tmp_path: Path) -> None:
    exported(LocalStore(tmp_path), compression=Compression.GZIP)
    assert (tmp_path / NAME).read_bytes() == (GOLDEN / "1.16-gzip.pgdump").read_bytes()


def test_a_second_table_of_contents_goes() -> None:
    bucket = MemoryStore()
    exported(bucket, "1.15-none")
    assert (GOLDEN / "1.15-none.pgdump").read_bytes().startswith(bucket.get(NAME))


def test_what_was_read_back_wrong_is_removed() -> None:
    bucket = ForgetfulStore()
    with pytest.raises(SnapshotDamaged, match="read back other than it was written"):
        exported(bucket)
    assert bucket.head(NAME) is None


def test_a_damaged_source_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    whole = (GOLDEN / "1.14-gzip.pgdump").read_bytes()
    (folder / "cut.pgdump").write_bytes(whole[:-50])
    source = StoredFile(store=LocalStore(folder), name="cut.pgdump")
    out = LocalStore(tmp_path / "out")
    for store in (out, MemoryStore()):
        request = ExportRequest(
            entry=entry_of(source),
            archive=source,
            store=store,
            name=NAME,
            compression=Compression.NONE,
            format_minor=None,
        )
        with pytest.raises(ArchiveDamaged, match="cut off"):
            export_snapshot(request, lambda _: None)
        assert list(store.list()) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_room_is_seen_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpaceMissing, match="100 bytes free"):
        exported(FullStore(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put(NAME, b"mine")
    with pytest.raises(ObjectExists):
        exported(store)
    assert store.get(NAME) == b"mine"


def test_an_older_version_is_written_or_refused() -> None:
    assert exported(MemoryStore(), "1.15-gzip", minor=14).format_version == "1.14"
    bucket = MemoryStore()
    with pytest.raises(PrecheckRefused, match="large objects"):
        exported(bucket, "1.16-gzip", minor=14)
    assert list(bucket.list()) == []


@pytest.mark.parametrize(("archive", "reader"), [("1.14-none", 12), ("1.15-none", 16)])
def test_who_can_read_it_is_told(archive: str, reader: int) -> None:
    assert exported(MemoryStore(), archive).pg_restore == reader


def test_progress_is_told() -> None:
    events: list[Event] = []
    exported(MemoryStore(), events=events)
    works = {event.work for event in events if isinstance(event, Progress)}
    assert works == {f"write {NAME}", f"read {NAME}"}


@pytest.mark.parametrize("text", ["", "1", "1.", "1.13", "1.17", "2.14", "1.1५", "1.015", "16"])
def test_other_versions_are_no_versions(text: str) -> None:
    with pytest.raises(UsageError, match="is not a version of the format"):
        parse_format_version(text)
