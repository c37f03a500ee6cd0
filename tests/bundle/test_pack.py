"""Making bundles of real files, and putting them back: nothing is lost, nothing is made up."""

import os
import shutil
import socket
import sqlite3
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bundle_support import extract, pack, read, streamed, tree

from alexandria_backup.bundle import capture
from alexandria_backup.bundle.entry import Entry, Kind, Problem
from alexandria_backup.bundle.exclusions import Exclusions, inodes_of
from alexandria_backup.bundle.reader import read_bundle
from alexandria_backup.errors import BundleDamaged, SpaceMissing
from alexandria_backup.sealing.blocks import BLOCK_BYTES, Compression

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def entries(data: bytes) -> dict[str, Entry]:
    return {entry.shown: entry for entry in read(data).manifest.entries()}


def inner(data: bytes, folder: Path) -> dict[str, Entry]:
    """Return the entries by their path below the one root."""
    start = f"config{folder}"
    return {path[len(start) + 1 :]: entry for path, entry in entries(data).items()}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return a folder with one of everything."""
    folder = tmp_path / "app"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "app.yaml").write_text("port: 8443\n", encoding="utf-8")
    (folder / "app.yaml").chmod(0o640)
    (folder / "empty").touch()
    (folder / "sub" / "tool.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / "sub" / "tool.sh").chmod(0o4755)
    (folder / "large").write_bytes(bytes(range(256)) * 12_000)
    (folder / "link").symlink_to("app.yaml")
    (folder / "broken").symlink_to("/nowhere/at/all")
    (folder / "hard").hardlink_to(folder / "app.yaml")
    (folder / ("ü" * 60 + "-long")).write_text("a long name", encoding="utf-8")
    (folder / "sub" / ("d" * 120)).mkdir()
    (folder / "sub" / ("d" * 120) / ("f" * 120)).write_text("longer", encoding="utf-8")
    Path(os.fsdecode(bytes(folder) + b"/not-utf8-\xff\xfe")).write_text("bytes", encoding="utf-8")
    Path(os.fsdecode(bytes(folder) + b"/long-\xff" + b"x" * 200)).touch()
    with (folder / "sparse").open("wb") as file:
        file.truncate(5 << 20)
        file.seek(1 << 20)
        file.write(b"in the middle")
        file.seek(3 << 20)
        file.write(b"x" * 70_000)
    os.utime(folder / "app.yaml", ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    os.utime(folder / "empty", (-86_400, -86_400))
    os.utime(folder / "sub", ns=(1_600_000_000_000_000_001, 1_600_000_000_000_000_001))
    return folder


def test_everything_comes_back_as_it_was(app: Path, tmp_path: Path) -> None:
    os.setxattr(app / "app.yaml", "user.origin", b"tests\0\xff")
    data, tail = pack({"config": [app]})
    assert tail.problems == 0
    assert read(data).differences == ()
    extract(data, {f"config{app}": tmp_path / "back"})
    assert tree(tmp_path / "back") == tree(app)
    back = tmp_path / "back"
    assert (back / "hard").samefile(back / "app.yaml")
    assert (back / "sparse").stat().st_blocks * 512 < 1 << 20
    assert os.getxattr(back / "app.yaml", "user.origin") == b"tests\0\xff"


@only_root
def test_owners_come_back(app: Path, tmp_path: Path) -> None:
    os.chown(app / "empty", 12_345, 23_456)
    os.chown(app / "large", 3_000_000, 4_000_000)
    os.chown(app / "link", 12_345, 12_345, follow_symlinks=False)
    data, _ = pack({"config": [app]})
    extract(data, {f"config{app}": tmp_path / "back"})
    assert tree(tmp_path / "back") == tree(app)


@pytest.mark.parametrize("compression", list(Compression))
def test_stock_tools_read_it(app: Path, tmp_path: Path, compression: Compression) -> None:
    data, _ = pack({"config": [app]}, compression=compression)
    (tmp_path / "bundle").write_bytes(data)
    packer = "zstd" if compression is Compression.ZSTD else "gzip"
    if shutil.which("tar") is None or shutil.which(packer) is None:
        pytest.skip(f"tar and {packer} are not here")
    (tmp_path / "out").mkdir()
    command = ["tar", f"--use-compress-program={packer}", "-xpf", "bundle", "-C", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    # GNU tar takes the bytes of such a name as they are, and says that nobody asked it to.
    said = [line for line in done.stderr.splitlines() if "implausibly old time" not in line]
    assert said == ["tar: Ignoring unknown extended header keyword 'hdrcharset'"] * len(said)
    assert (tmp_path / "out" / "MANIFEST.json").read_text(encoding="utf-8").startswith('{"head": ')
    out = Path(f"{tmp_path}/out/config{app}")

    def in_seconds(folder: Path) -> dict[str, object]:
        # Headers have whole seconds.
        return {name: (*said[:3], said[3] // 10**9, said[4]) for name, said in tree(folder).items()}

    assert in_seconds(out) == in_seconds(app)


def test_python_reads_it_with_its_odd_names(app: Path, tmp_path: Path) -> None:
    data, _ = pack({"config": [app]})
    (tmp_path / "bundle.tar.gz").write_bytes(data)
    with tarfile.open(tmp_path / "bundle.tar.gz") as tar:
        names = {os.fsencode(name) for name in tar.getnames()}
        sparse = next(m for m in tar if m.name.endswith("/sparse"))
    assert f"config{app}".encode() + b"/not-utf8-\xff\xfe" in names
    assert sparse.size == 5 << 20


def test_the_same_content_gives_the_same_bytes(app: Path) -> None:
    one, _ = pack({"config": [app]}, threads=1)
    assert one == pack({"config": [app]}, threads=3)[0]


def test_blocks_do_not_depend_on_how_data_come(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(BLOCK_BYTES * 3 + 17))
    one, _ = pack({"config": [tmp_path / "a"]})
    assert one == pack({"config": [tmp_path / "a"]}, threads=1)[0]


def test_a_root_may_be_one_file(tmp_path: Path) -> None:
    (tmp_path / "unit.container").write_text("[Container]\n", encoding="utf-8")
    data, _ = pack({"config": [tmp_path / "unit.*"]})
    extract(data, {f"config{tmp_path}/unit.container": tmp_path / "back"})
    assert (tmp_path / "back").read_text(encoding="utf-8") == "[Container]\n"


# ── what is left out ─────────────────────────────────────────────────────────────────────────────


def test_what_is_left_out_is_said_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    for name in ("cache/deep", "models", "keep"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").touch()
    (folder / "x.db-wal").touch()
    (folder / "secret.key").write_text("s", encoding="utf-8")
    os.mkfifo(folder / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(folder / "socket"))
    patterns = {
        "*.db-wal": "a log", "cache/": "a cache", f"{folder}/models/": "a model",
        "*.key": "declared secret",
    }  # fmt: skip
    with closing(server):
        data, tail = pack({"config": [folder]}, exclusions=Exclusions(patterns=patterns))
    assert {e.path.removeprefix(f"{folder}/"): e.why for e in tail.excluded} == {
        "cache": "a cache", "models": "a model", "x.db-wal": "a log",
        "secret.key": "declared secret", "pipe": "a named pipe", "socket": "a socket",
    }  # fmt: skip
    assert set(inner(data, folder)) == {"", "keep", "keep/file"}
    assert tail.problems == 0


def test_private_keys_are_left_out_under_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    key = folder / "signing.pem"
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----")
    (folder / "other-name").hardlink_to(key)
    (folder / "copy").write_bytes(key.read_bytes())
    (folder / "same-size").write_bytes(b"x" * key.stat().st_size)
    (folder / "link").symlink_to("signing.pem")
    exclusions = Exclusions(
        patterns={}, inodes=inodes_of([key], "a key"), contents=frozenset({key.read_bytes()})
    )
    data, tail = pack({"config": [folder]}, exclusions=exclusions)
    assert set(inner(data, folder)) == {"", "same-size", "link"}
    assert len(tail.excluded) == 3
    assert key.read_bytes() not in b"".join(_contents(data))


def _contents(data: bytes) -> Iterator[bytes]:
    found: list[bytes] = []
    read_bundle(streamed(data), lambda _, chunks: found.extend(chunks))
    return iter(found)


def test_names_that_some_file_systems_take_for_one_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "README").touch()
    (folder / "readme").touch()
    _, tail = pack({"config": [folder]})
    assert tail.twins == (f"{folder}/readme",)


# ── files that do not hold still ─────────────────────────────────────────────────────────────────


class Meddling:
    """Something that happens to a file just as it is read for the nth time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, when: int) -> None:
        self._left = when
        self._pread = os.pread
        self.deed = lambda: None
        monkeypatch.setattr(capture.os, "pread", self._read)

    def _read(self, descriptor: int, size: int, offset: int) -> bytes:
        self._left -= 1
        if self._left == 0:
            self.deed()
        return self._pread(descriptor, size, offset)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(4 << 20))
    return path


@pytest.mark.parametrize(
    ("deed", "problem"),
    [
        ("truncate", Problem.SHRANK),
        ("append", Problem.GREW),
        ("touch", Problem.CHANGED),
        ("fail", Problem.UNREADABLE),
    ],
)
def test_a_large_file_that_changes_is_stored_as_announced_and_named(
    large: Path, monkeypatch: pytest.MonkeyPatch, deed: str, problem: Problem
) -> None:
    def do() -> None:
        if deed == "truncate":
            os.truncate(large, 2 << 20)
        elif deed == "append":
            with large.open("ab") as file:
                file.write(b"more")
        elif deed == "touch":
            os.utime(large, (1, 1))
        else:
            raise OSError(5, "Input/output error")

    Meddling(monkeypatch, 3).deed = do
    data, tail = pack({"config": [large]})
    (entry,) = read(data).manifest.entries()
    assert entry.problem is problem
    assert entry.size == 4 << 20
    assert tail.problems == 1
    assert read(data).differences == ()


def test_a_small_file_that_changes_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"before")
    Meddling(monkeypatch, 1).deed = lambda: path.write_bytes(b"and afterwards") and None
    data, tail = pack({"config": [path]})
    (entry,) = read(data).manifest.entries()
    assert (entry.size, entry.problem, tail.problems) == (14, None, 0)


def test_a_small_file_that_never_holds_still_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"x")
    monkeypatch.setattr(capture, "_PAUSE_S", 0.0)
    original, turns = os.pread, iter(range(1000))

    def restless(descriptor: int, size: int, offset: int) -> bytes:
        found = original(descriptor, size, offset)
        os.utime(path, ns=(0, next(turns)))
        return found

    monkeypatch.setattr(capture.os, "pread", restless)
    data, tail = pack({"config": [path]})
    (entry,) = read(data).manifest.entries()
    assert (entry.problem, tail.problems) == (Problem.CHANGED, 1)


def test_a_file_that_vanishes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).touch()
    Meddling(monkeypatch, 1).deed = (folder / "b").unlink
    data, tail = pack({"config": [folder]})
    assert [(e.path, e.why) for e in tail.excluded] == [
        (f"{folder}/b", "vanished before it was read")
    ]
    assert tail.problems == 1
    assert set(inner(data, folder)) == {"", "a"}


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "a").touch()
    original = os.open

    def denied(path: str, *args: object, **more: object) -> int:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return original(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(capture.os, "open", denied)
    _, tail = pack({"config": [folder]})
    assert [e.why for e in tail.excluded] == ["could not be read: permission denied"]
    assert tail.problems == 1


def test_an_index_is_copied_until_it_holds_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "vectors.faiss"
    index.write_bytes(bytes(range(256)) * 8_000)
    Meddling(monkeypatch, 4).deed = lambda: os.utime(index, (1, 1))
    data, tail = pack({"knowledge": [index]}, staging=tmp_path)
    (entry,) = read(data).manifest.entries()
    assert (entry.problem, tail.problems) == (None, 0)
    assert entry.size == 256 * 8_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vectors.faiss"]


# ── databases in use ─────────────────────────────────────────────────────────────────────────────


def database(path: Path, mode: str, rows: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", ((i, "x" * 100) for i in range(rows)))
    connection.commit()
    return connection


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_in_use_is_consistent(tmp_path: Path, mode: str) -> None:
    """A writer moves rows between two tables all the time; their sum must stay the same."""
    path = tmp_path / "app" / "store.db"
    path.parent.mkdir()
    with closing(database(path, mode, 2_000)) as connection:
        connection.execute("CREATE TABLE other AS SELECT * FROM t WHERE 0")
        connection.commit()
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                with connection:
                    connection.execute("INSERT INTO other SELECT * FROM t ORDER BY a LIMIT 7")
                    connection.execute("DELETE FROM t WHERE a IN (SELECT a FROM other)")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            data, tail = pack(
                {"knowledge": [path.parent]},
                exclusions=Exclusions(patterns={"*.db-*": "a log"}),
                staging=tmp_path,
            )
        finally:
            stop.set()
            writer.join()
    assert tail.problems == 0
    extract(data, {f"knowledge{path.parent}": tmp_path / "back"})
    with closing(sqlite3.connect(tmp_path / "back" / "store.db")) as back:
        assert back.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (total,) = back.execute("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM other)")
    assert total == (2_000,)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("alexandria-bundle")]


def test_a_database_that_nobody_uses_gets_no_files_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "app" / "store.db"
    path.parent.mkdir()
    database(path, "wal", 10).close()
    before = tree(path.parent)
    one, _ = pack({"knowledge": [path.parent]})
    assert tree(path.parent) == before
    assert one == pack({"knowledge": [path.parent]})[0]


def test_what_only_looks_like_a_database_is_copied_and_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"SQLite format 3\0" + b"no" * 5_000)
    data, tail = pack({"knowledge": [path]})
    (entry,) = read(data).manifest.entries()
    assert (entry.problem, entry.size, tail.problems) == (Problem.NOT_CONSISTENT, 10_016, 1)


def test_a_copy_that_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database(tmp_path / "store.db", "delete", 10).close()
    full = shutil._ntuple_diskusage(100, 100, 1_000)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(SpaceMissing, match="copy of a file in use needs"):
        pack({"knowledge": [tmp_path / "store.db"]})


# ── large things ─────────────────────────────────────────────────────────────────────────────────


def test_a_sparse_file_of_20_gb_costs_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(20 << 30)
        file.seek(11 << 30)
        file.write(b"only this")
    data, _ = pack({"knowledge": [path]})
    assert len(data) < 100_000
    (entry,) = read(data).manifest.entries()
    assert entry.size == 20 << 30
    extract(data, {f"knowledge{path}": tmp_path / "back"})
    back = tmp_path / "back"
    assert back.stat().st_size == 20 << 30
    assert back.stat().st_blocks * 512 < 1 << 20
    with back.open("rb") as file:
        file.seek(11 << 30)
        assert file.read(9) == b"only this"


def test_a_tree_that_is_very_deep_is_walked(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    data, tail = pack({"config": [folder]})
    assert tail.entries > 1_200
    read(data)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


# ── extraction ───────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_written_where_something_is(app: Path, tmp_path: Path) -> None:
    data, _ = pack({"config": [app]})
    (tmp_path / "back").mkdir()
    with pytest.raises(BundleDamaged, match="are one on this file system"):
        extract(data, {f"config{app}": tmp_path / "back"})
    assert list((tmp_path / "back").iterdir()) == []


def test_kinds_are_what_they_are(app: Path) -> None:
    data, _ = pack({"config": [app]})
    kinds = {path: entry.kind for path, entry in inner(data, app).items()}
    assert kinds["hard"] is Kind.HARDLINK
    assert kinds["app.yaml"] is Kind.FILE
    assert kinds["link"] is Kind.SYMLINK
    assert kinds["sub"] is Kind.FOLDER
