import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from alexandria_backup.errors import (
    ManifestInvalid,
    SnapshotMissing,
    StorageError,
    StoreDenied,
    StoreUnreachable,
    WrongKey,
)
from alexandria_backup.repository.file_snapshots import (
    FileSnapshots,
    archive_name,
    manifest_name,
)
from alexandria_backup.repository.manifest import Manifest, encode
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.sealing.signing import SigningKey
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.memory import MemoryStore
from alexandria_backup.storage.store import ObjectStore

Build = Callable[..., Manifest]

KEY = SigningKey.from_seed("ours.example", bytes(32))
STRANGER = SigningKey.from_seed("stranger.example", bytes([1]) * 32)
DATA = b"PGDMP"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Folder:
    """A store, and what puts snapshots into it."""

    def __init__(self, store: ObjectStore, build: Build) -> None:
        self.store, self._build = store, build
        self.snapshots = FileSnapshots(store=store)
        self.signed = FileSnapshots(store=store, trusted=(KEY.trusted,))

    def add(self, name: str, *, key: SigningKey | None = None, **changes: object) -> None:
        archive = name if "." in name else f"{name}.pgdump"
        digest = hashlib.sha256(DATA).hexdigest()
        manifest = self._build(archive, bytes=len(DATA), sha256=digest, **changes)
        self.store.put(archive, DATA)
        self.store.put(manifest_name(archive), encode(manifest, key))

    def problems(self, snapshots: FileSnapshots | None = None) -> dict[str, str | None]:
        return {entry.id: entry.problem for entry in (snapshots or self.snapshots).all()}


@pytest.fixture(params=["memory", "local"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, build: Build) -> Folder:
    (tmp_path / "snapshots").mkdir()
    local = request.param == "local"
    return Folder(LocalStore(tmp_path / "snapshots") if local else MemoryStore(), build)


class TestNames:
    def test_an_archive_is_named_by_the_paper_recipe(self) -> None:
        assert archive_name("alexandria-ee", NOON) == "alexandria-ee-20261123T120000.pgdump"

    def test_the_time_in_a_name_is_utc(self) -> None:
        there = NOON.astimezone(timezone(timedelta(hours=5)))
        assert archive_name("a", there) == archive_name("a", NOON)


class TestListing:
    def test_an_empty_place_has_none(self, folder: Folder) -> None:
        assert not folder.snapshots.all()

    def test_oldest_first_by_the_servers_clock(self, folder: Folder) -> None:
        folder.add("b", created=NOON)
        folder.add("a", created=NOON + timedelta(hours=1))
        folder.add("c", created=NOON - timedelta(hours=1))
        assert [entry.id for entry in folder.snapshots.all()] == ["c", "b", "a"]
        assert set(folder.problems().values()) == {None}

    def test_an_archive_alone_is_listed(self, folder: Folder) -> None:
        folder.store.put("alone.pgdump", DATA)
        (entry,) = folder.snapshots.all()
        assert (entry.id, entry.bytes, entry.manifest) == ("alone", len(DATA), None)
        assert entry.status == "stored"

    def test_a_manifest_alone_is_listed(self, folder: Folder) -> None:
        folder.add("a")
        folder.store.delete("a.pgdump")
        (entry,) = folder.snapshots.all()
        assert entry.bytes is None
        assert "missing" in str(entry.problem)

    def test_an_archive_of_another_ending_is_listed_by_its_manifest(self, folder: Folder) -> None:
        folder.add("weekly.dump")
        folder.store.put("app.manifest", b"somebody else's")
        assert folder.problems() == {"weekly.dump": None}

    def test_other_files_and_subfolders_are_not_ours(self, folder: Folder) -> None:
        folder.store.put("README.txt", b"hello")
        folder.store.put("older/x.pgdump", DATA)
        assert folder.problems() == {}

    def test_what_is_damaged_is_listed_beside_what_is_good(self, folder: Folder) -> None:
        folder.add("good")
        for name, junk in (("empty", b""), ("junk", b"\xff"), ("cut", b'{"format": 1,')):
            folder.store.put(f"{name}.pgdump", DATA)
            folder.store.put(f"{name}.pgdump.manifest", junk)
        problems = folder.problems()
        assert problems.pop("good") is None
        assert sorted(problems) == ["cut", "empty", "junk"]
        assert all(problems.values())

    def test_an_archive_of_another_size_is_a_problem(self, folder: Folder) -> None:
        folder.add("a")
        folder.store.delete("a.pgdump")
        folder.store.put("a.pgdump", DATA[:-1])
        (entry,) = folder.snapshots.all()
        assert "4 bytes" in str(entry.problem)
        assert entry.status == "damaged"

    def test_the_manifest_of_another_archive_is_a_problem(self, folder: Folder) -> None:
        folder.add("a")
        folder.store.put("b.pgdump", DATA)
        folder.store.put("b.pgdump.manifest", folder.store.get("a.pgdump.manifest"))
        folder.store.put("c.pgdump", DATA * 2)
        folder.store.put("c.pgdump.manifest", folder.store.get("a.pgdump.manifest"))
        assert folder.problems() == {
            "a": None,
            "b": "its manifest is the one of `a.pgdump`",
            "c": "its manifest is the one of `a.pgdump`",
        }

    def test_unsigned_and_strangers_manifests_are_problems(self, folder: Folder) -> None:
        folder.add("ours", key=KEY)
        folder.add("unsigned")
        folder.add("strangers", key=STRANGER)
        problems = folder.problems(folder.signed)
        assert problems["ours"] is None
        assert "signature" in str(problems["unsigned"])
        assert "stranger.example" in str(problems["strangers"])


class TestFind:
    @pytest.mark.parametrize("name", ["a", "a.pgdump"])
    def test_by_id_and_by_file(self, folder: Folder, name: str) -> None:
        folder.add("a")
        entry = folder.snapshots.find(name)
        assert entry.archive == "a.pgdump"
        assert entry.manifest is not None

    def test_an_archive_alone_is_found(self, folder: Folder) -> None:
        folder.store.put("plain.dump", DATA)
        entry = folder.snapshots.find("plain.dump")
        assert (entry.archive, entry.manifest, entry.problem) == ("plain.dump", None, None)

    def test_what_is_missing_names_the_nearest(self, folder: Folder) -> None:
        folder.add("shop-20261123T120000")
        with pytest.raises(SnapshotMissing, match="`shop-20261123T120000`"):
            folder.snapshots.find("shop-20261123T120001")

    def test_by_the_name_of_its_manifest(self, folder: Folder) -> None:
        folder.add("a")
        folder.add("weekly.dump")
        assert folder.snapshots.find("a.pgdump.manifest").archive == "a.pgdump"
        assert folder.snapshots.find("weekly.dump.manifest").archive == "weekly.dump"

    @pytest.mark.parametrize("name", ["vor dem Umzug", "größe „neu“", "a'b$c`d"])
    def test_names_that_people_give(self, folder: Folder, name: str) -> None:
        folder.add(name)
        assert folder.problems() == {name: None}
        assert folder.snapshots.find(name).archive == f"{name}.pgdump"

    def test_a_name_that_leaves_no_room_for_an_ending(self, folder: Folder) -> None:
        name = "ü" * 125 + ".dump"
        folder.store.put(name, DATA)
        assert folder.snapshots.find(name).archive == name

    @pytest.mark.parametrize("name", ["", "..", "../a", "/etc/passwd", "a\nb", "\ud800", "x" * 300])
    def test_what_cannot_be_a_name_is_missing(self, folder: Folder, name: str) -> None:
        folder.add("a")
        with pytest.raises(SnapshotMissing, match="there is no snapshot"):
            folder.snapshots.find(name)

    def test_a_typing_mistake_in_a_file_name_names_the_nearest(self, folder: Folder) -> None:
        folder.add("abc")
        with pytest.raises(SnapshotMissing, match="the nearest is `abc`"):
            folder.snapshots.find("abd.pgdump")

    def test_nothing_is_near_where_nothing_is_there(self, folder: Folder) -> None:
        with pytest.raises(SnapshotMissing, match=r"there is no snapshot `a` in `[^`]*`$"):
            folder.snapshots.find("a")

    def test_a_damaged_manifest_is_not_the_same_as_none(self, folder: Folder) -> None:
        folder.store.put("a.pgdump", DATA)
        folder.store.put("a.pgdump.manifest", b"junk")
        with pytest.raises(ManifestInvalid, match=r"a\.pgdump\.manifest"):
            folder.snapshots.find("a")

    def test_a_forged_manifest_is_not_the_same_as_none(self, folder: Folder) -> None:
        folder.add("unsigned")
        folder.add("strangers", key=STRANGER)
        with pytest.raises(ManifestInvalid):
            folder.signed.find("unsigned")
        with pytest.raises(WrongKey):
            folder.signed.find("strangers")


class TestLatest:
    def latest(self, folder: Folder, at: datetime | None = None) -> str:
        found = folder.snapshots.latest(application="shop", database="shop", at=at)
        return found.id

    def test_the_newest_by_the_servers_clock(self, folder: Folder) -> None:
        folder.add("new", created=NOON)
        folder.add("old", created=NOON - timedelta(days=1))
        assert self.latest(folder) == "new"
        assert self.latest(folder, at=NOON) == "new"
        assert self.latest(folder, at=NOON - timedelta(microseconds=1)) == "old"
        with pytest.raises(SnapshotMissing, match="taken by 2026-11-21"):
            self.latest(folder, at=NOON - timedelta(days=2))

    def test_never_one_of_these(self, folder: Folder) -> None:
        folder.add("good", created=NOON)
        later = NOON + timedelta(days=1)
        folder.add("safety", created=later, kind=SnapshotKind.SAFETY)
        folder.add("other-application", created=later, application="blog")
        folder.add("other-database", created=later, database_name="blog")
        folder.add("cut", created=later)
        folder.store.delete("cut.pgdump")
        folder.store.put("cut.pgdump", b"PG")
        folder.add("gone", created=later)
        folder.store.delete("gone.pgdump")
        folder.store.put("alone.pgdump", DATA)
        assert self.latest(folder) == "good"

    def test_none_is_an_error(self, folder: Folder) -> None:
        folder.add("safety", kind=SnapshotKind.SAFETY)
        with pytest.raises(SnapshotMissing, match="`shop`"):
            self.latest(folder)

    def test_a_forged_newest_is_passed_over(self, folder: Folder) -> None:
        folder.add("ours", key=KEY, created=NOON)
        folder.add("forged", key=STRANGER, created=NOON + timedelta(days=1))
        assert folder.signed.latest(application="shop", database="shop").id == "ours"


class Failing(MemoryStore):
    """A store whose manifests cannot be fetched."""

    def __init__(self, error: StorageError) -> None:
        super().__init__()
        self._error = error

    def get(self, name: str) -> bytes:
        raise self._error


def test_one_manifest_that_may_not_be_read_does_not_hide_the_list(build: Build) -> None:
    folder = Folder(Failing(StoreDenied("no")), build)
    folder.add("a")
    folder.store.put("b.pgdump", DATA)
    assert folder.problems() == {"a": "no", "b": None}


def test_a_store_that_does_not_answer_is_no_list(build: Build) -> None:
    folder = Folder(Failing(StoreUnreachable("gone")), build)
    folder.add("a")
    with pytest.raises(StoreUnreachable):
        folder.snapshots.all()


def test_a_folder_that_is_not_there_is_no_empty_list(tmp_path: Path) -> None:
    snapshots = FileSnapshots(store=LocalStore(tmp_path / "not-mounted"))
    with pytest.raises(StorageError, match="not-mounted` does not exist"):
        snapshots.all()
    with pytest.raises(SnapshotMissing, match=r"`a` in .*not-mounted`"):
        snapshots.find("a")
    with pytest.raises(StorageError, match="not-mounted` does not exist"):
        snapshots.latest(application="shop", database="shop")
