"""Small files are read by the folder: faster, and not another byte than path by path."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from bundle_support import pack, read

from alexandria_backup.bundle import small
from alexandria_backup.bundle.attributes import entry_of
from alexandria_backup.bundle.entry import Entry, FileLines, Kind, owned
from alexandria_backup.bundle.exclusions import Excluder, Exclusions, inodes_of
from alexandria_backup.bundle.file_headers import FileHeaders, FileOwner
from alexandria_backup.bundle.found import Files, LeftOut
from alexandria_backup.bundle.headers import headers
from alexandria_backup.bundle.manifest import SetContents
from alexandria_backup.bundle.readers import Readers
from alexandria_backup.bundle.small import Batch, SmallFiles
from alexandria_backup.bundle.walk import Walk

OWNERS = [
    (0o644, 0, 0, "root", "root"),
    (0o4755, 1000, 2_097_151, "", "a-group"),
    (0o600, 2_097_152, 0, "", ""),
    (0o600, 0, 0, "u" * 31, "g" * 32),
    (0o600, 0, 0, "jürgen", "jürgen"),
]
FOLDERS = ["all/a", "all/" + "b" * 80, "all/" + "c" * 151, "all/" + "d" * 152, "all/x/" + "e" * 200]
NAMES = ["a", "n" * 15, "n" * 16, "n" * 94, "n" * 95, "n" * 100, "n" * 101, "ü" * 50, 'q"\n\\']
TIMES = [0, 1, -1, 1_700_000_000_000_000_001, 8_589_934_591 * 10**9, 8_589_934_592 * 10**9]


def folder_of(path: Path, names: tuple[str, ...]) -> Files:
    status = path.stat()
    inode = (status.st_dev, status.st_ino)
    return Files(path=str(path), member=b"all" + bytes(path), folder=inode, names=names)


def taken(path: Path, excluder: Excluder | None = None) -> list[Batch | str]:
    names = tuple(sorted(one.name for one in path.iterdir()))
    return list(
        SmallFiles(excluder or Excluder(Exclusions(patterns={}))).read(folder_of(path, names))
    )


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("owner", OWNERS)
def test_headers_and_lines_are_the_same_bytes(
    folder: str, owner: tuple[int, int, int, str, str]
) -> None:
    mode, uid, gid, user, group = owner
    for name in NAMES:
        for mtime_ns in TIMES:
            seconds, ns = divmod(mtime_ns, 10**9)
            entry = Entry(
                path=f"{folder}/{name}".encode(), kind=Kind.FILE, mode=mode, uid=uid, gid=gid,
                user=user, group=group, mtime=seconds, ns=ns, size=511, sha256="0" * 64,
            )  # fmt: skip
            header = FileHeaders(folder.encode()).header(
                name.encode(), FileOwner(*owner), 511, seconds
            )
            line = FileLines(folder.encode()).line(name, owned(*owner), 511, "0" * 64, mtime_ns)
            assert line.encode() == entry.line()
            assert header in {None, headers(entry)}
            # Only what takes a pax header is left to the slower way.
            assert (header is None) == (len(headers(entry)) > 512)


def test_plain_files_come_in_one_batch(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}").write_text("x" * number)
    (batch,) = taken(tmp_path)
    assert isinstance(batch, Batch)
    assert (batch.entries, batch.size) == (5, 10)


def test_what_is_not_plain_is_left_to_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("plain")
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    os.mkfifo(tmp_path / "c")
    (tmp_path / "d").symlink_to("a")
    (tmp_path / "e").write_text("two names")
    (tmp_path / "f").hardlink_to(tmp_path / "e")
    (tmp_path / "g").write_bytes(bytes(small.SMALL + 1))
    (tmp_path / "h").mkdir()
    (tmp_path / "z").write_text("plain")
    found = [one if isinstance(one, str) else one.entries for one in taken(tmp_path)]
    assert found == [1, "b.db", "c", "d", "e", "f", "g", "h", 1]


def test_batches_are_bounded_by_bytes(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}").write_bytes(bytes(small.SMALL))
    assert [one.entries for one in taken(tmp_path) if isinstance(one, Batch)] == [1, 1, 1, 1]


def test_a_key_stays_out_by_inode_and_by_content(tmp_path: Path) -> None:
    for name in ("key", "copy", "other"):
        (tmp_path / name).write_text("secret" if name != "other" else "public")
    by_inode = Exclusions(patterns={}, inodes=inodes_of([tmp_path / "key"], "a key"))
    by_content = Exclusions(patterns={}, contents=frozenset({b"secret"}))
    names = [[one for one in taken(tmp_path, Excluder(e)) if isinstance(one, str)]
             for e in (by_inode, by_content)]  # fmt: skip
    assert names == [["key"], ["copy", "key"]]


def test_a_link_in_a_folders_place_is_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "one").write_text(folder.name)
    files = folder_of(inside, ("one",))
    inside.rename(tmp_path / "aside")
    inside.symlink_to(outside)
    assert list(SmallFiles(Excluder(Exclusions(patterns={}))).read(files)) == ["one"]
    inside.unlink()
    outside.rename(inside)
    assert list(SmallFiles(Excluder(Exclusions(patterns={}))).read(files)) == ["one"]


def test_extended_attributes_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    os.setxattr(tmp_path / "a", "user.origin", b"tests")
    (batch,) = taken(tmp_path)
    assert isinstance(batch, Batch)
    status = (tmp_path / "a").stat()
    entry = entry_of(
        b"all" + bytes(tmp_path / "a"), status, Kind.FILE, size=1,
        xattrs=(("user.origin", b"tests"),),
        sha="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    )  # fmt: skip
    assert batch.lines == entry.line()
    assert batch.members == headers(entry) + b"x" + bytes(511)


PATTERNS = [
    ("*.tmp", {"a.txt", "b.tmp.txt", "sub/c.txt"}),
    ("b*", {"a.txt", "sub/c.txt", "sub/d.tmp", "a.tmp"}),
    ("sub/", {"a.txt", "a.tmp", "b.tmp.txt"}),
    ("{}/sub/*.tmp", {"a.txt", "a.tmp", "b.tmp.txt", "sub/c.txt"}),
    ("{}/a.t[mx]p", {"a.txt", "b.tmp.txt", "sub/c.txt", "sub/d.tmp"}),
    ("/nowhere/*", {"a.txt", "a.tmp", "b.tmp.txt", "sub/c.txt", "sub/d.tmp"}),
]


@pytest.mark.parametrize(("pattern", "kept"), PATTERNS)
def test_patterns_leave_out_the_same_files(tmp_path: Path, pattern: str, kept: set[str]) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "a.tmp", "b.tmp.txt", "sub/c.txt", "sub/d.tmp"):
        (tmp_path / name).write_text(name)
    exclusions = Exclusions(patterns={pattern.format(tmp_path): "by a pattern"})
    data, _ = pack({"all": [tmp_path]}, exclusions=exclusions)
    start = f"all{tmp_path}/"
    entries = [entry for entry in read(data).manifest.entries() if entry.kind is Kind.FILE]
    assert {entry.shown.removeprefix(start) for entry in entries} == kept
    contents = SetContents(paths=(), roots=(str(tmp_path),))
    walk = Walk("all", contents, Excluder(exclusions))
    assert Readers(exclusions, 1).room(walk.batches()) >= sum(len(name) for name in kept)


def test_a_file_that_became_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    walk = Walk("all", SetContents(paths=(), roots=()), Excluder(Exclusions(patterns={})))
    found = walk.file(folder_of(tmp_path, ("a",)), "a")
    assert isinstance(found, LeftOut)
    assert found.problem
