"""What only folders have: modes, links, full disks, leftovers of killed runs, other writers."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexandria_backup.errors import (
    ObjectExists,
    ObjectMissing,
    StorageError,
    StoreDenied,
    StoreFull,
)
from alexandria_backup.storage import placing
from alexandria_backup.storage.local import LocalStore

MIB = 1024 * 1024
#: Nobody on any system; only root can become this user.
ORDINARY = 54321


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def store(root: Path) -> LocalStore:
    root.mkdir()
    return LocalStore(root)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ── the folder ───────────────────────────────────────────────────────────────────────────────────


def test_the_folder_is_made_with_the_first_object(root: Path) -> None:
    store = LocalStore(root / "new")
    assert not root.exists()
    store.put("deep/er/name", b"x")
    assert files_below(root) == ["new/deep/er/name"]


def test_files_and_new_folders_are_for_the_owner_alone(root: Path) -> None:
    root.mkdir(mode=0o755)
    previous = os.umask(0)
    try:
        LocalStore(root).put("a/b/name", b"x")
    finally:
        os.umask(previous)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in root.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "name": 0o600}
    assert root.stat().st_mode & 0o7777 == 0o755


def test_a_missing_folder_is_an_error_and_no_empty_listing(root: Path) -> None:
    """It may be a disk that is not mounted; to take it for empty is how backups get lost."""
    store = LocalStore(root)
    with pytest.raises(StorageError, match="does not exist") as caught:
        next(store.list())
    assert type(caught.value) is StorageError
    assert caught.value.hint is not None
    assert "mkdir -p" in caught.value.hint
    assert store.head("name") is None
    with pytest.raises(ObjectMissing):
        store.get("name")
    assert store.free_bytes()


def test_a_folder_that_is_replaced_while_it_is_listed(store: LocalStore, root: Path) -> None:
    for name in ("a/1", "b/1", "c/1"):
        store.put(name, b"x")
    listing = store.list()
    next(listing)
    root.rename(root.with_name("moved"))
    root.mkdir()
    with pytest.raises(StorageError, match="replaced"):
        _ = [*listing]


def test_a_relative_folder_stays_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()
    monkeypatch.chdir(root)
    store = LocalStore(Path("here"))
    monkeypatch.chdir("/")
    store.put("name", b"x")
    assert files_below(root) == ["here/name"]
    assert store.url == str(root / "here")


# ── what lies in it ──────────────────────────────────────────────────────────────────────────────


def test_leftovers_of_killed_runs_are_not_objects(store: LocalStore, root: Path) -> None:
    store.put("dump", b"x")
    (root / "dump.0123456789ab.part").write_bytes(b"half")
    (root / "bad\nname").write_bytes(b"")
    (root / "lost+found").mkdir()
    (root / "lost+found" / "#12").write_bytes(b"")
    os.mkfifo(root / "pipe")
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to(root)
    assert [info.name for info in store.list()] == ["dump"]
    for name in ("pipe", "dangling"):
        assert store.head(name) is None
        with pytest.raises(ObjectMissing):
            store.get(name)


def test_a_killed_writer_leaves_nothing_that_looks_like_an_object(
    store: LocalStore, root: Path
) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from alexandria_backup.storage.local import LocalStore\n"
        "def chunks():\n"
        "    yield b'half'\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(600)\n"
        "LocalStore(Path(sys.argv[1])).put_stream('dump', chunks())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert len(files_below(root)) == 1
    assert [*store.list()] == []
    assert store.head("dump") is None
    assert store.put_stream("dump", [b"whole"]) == 5


def test_links_to_files_are_objects(store: LocalStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"content")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert [(info.name, info.size) for info in store.list()] == [("link", 7)]
    assert store.get("link") == b"content"
    store.delete("link")
    assert (tmp_path / "elsewhere").exists()


def test_a_link_that_leads_nowhere_is_not_written_through(
    store: LocalStore, root: Path, tmp_path: Path
) -> None:
    (root / "name").symlink_to(tmp_path / "victim")
    with pytest.raises(ObjectExists):
        store.put("name", b"x")
    assert not (tmp_path / "victim").exists()


def test_a_file_in_the_place_of_a_folder(store: LocalStore, root: Path) -> None:
    store.put("name", b"x")
    with pytest.raises(StorageError, match="not a directory") as caught:
        store.put("name/below", b"y")
    assert type(caught.value) is StorageError
    assert store.head("name/below") is None
    (root / "folder").mkdir()
    with pytest.raises(ObjectExists):
        store.put("folder", b"y")
    assert files_below(root) == ["name"]


def test_a_file_that_shrinks_while_it_is_read(store: LocalStore, root: Path) -> None:
    store.put("dump", bytes(3 * MIB))
    chunks = store.read("dump")
    next(chunks)
    os.truncate(root / "dump", 2 * MIB)
    with pytest.raises(StorageError, match="instead of 3145728"):
        _ = [*chunks]


# ── other writers ────────────────────────────────────────────────────────────────────────────────


def test_of_many_processes_one_wins(store: LocalStore, root: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from alexandria_backup.errors import ObjectExists\n"
        "from alexandria_backup.storage.local import LocalStore\n"
        "store, me = LocalStore(Path(sys.argv[1])), sys.argv[2]\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for number in range(40):\n"
        "    try:\n"
        "        store.put_stream(f'contested-{number}', [me.encode()] * 100)\n"
        "        print(number)\n"
        "    except ObjectExists:\n"
        "        pass\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = [
        (int(number), writer)
        for writer, process in enumerate(writers)
        for number in process.communicate(timeout=120)[0].split()
    ]
    assert sorted(number for number, _ in won) == [*range(40)]
    for number, writer in won:
        assert store.get(f"contested-{number}") == b"%d" % writer * 100
    assert len(files_below(root)) == 40


def _writer_that_is_overtaken(root: Path) -> Iterator[bytes]:
    yield b"slow"
    (root / "name").write_bytes(b"faster")


def test_a_writer_that_was_faster_is_not_overwritten(store: LocalStore, root: Path) -> None:
    with pytest.raises(ObjectExists):
        store.put_stream("name", _writer_that_is_overtaken(root))
    assert store.get("name") == b"faster"
    assert files_below(root) == ["name"]


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, as FAT and some shares are."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(placing.os, "link", refuse)


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is a call of Linux")
def test_without_hard_links_nothing_is_overwritten_either(
    without_links: None, store: LocalStore, root: Path
) -> None:
    store.put("other", b"x")
    with pytest.raises(ObjectExists):
        store.put_stream("name", _writer_that_is_overtaken(root))
    assert store.get("name") == b"faster"
    assert store.get("other") == b"x"
    assert files_below(root) == ["name", "other"]


def test_a_link_whose_answer_was_lost_is_ours(tmp_path: Path) -> None:
    """NFS sends a link again whose answer got lost, and then finds that it exists."""
    part, target = tmp_path / "part", tmp_path / "target"
    part.write_bytes(b"x")
    os.link(part, target)
    placing.place(part, target)
    assert files_below(tmp_path) == ["target"]


# ── disks ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB, really mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("known", [True, False], ids=["at once", "streamed"])
def test_a_full_disk_is_told_and_cleared(small_disk: Path, known: bool) -> None:
    store = LocalStore(small_disk)
    store.put("earlier", b"x")
    free = store.free_bytes()
    assert free is not None
    assert 0 < free < MIB
    chunks = [bytes(2 * MIB)] if known else (bytes(1000) for _ in range(2000))
    with pytest.raises(StoreFull, match="no space left"):
        store.put_stream("dump", chunks)
    assert files_below(small_disk) == ["earlier"]
    assert store.free_bytes() == free
    store.put("fits", bytes(1000))


def test_a_quota_of_file_size_is_told_and_cleared(store: LocalStore, root: Path) -> None:
    """What a machine without the right to mount can try, too: a limit of the process."""
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from alexandria_backup.errors import StorageError\n"
        "from alexandria_backup.storage.local import LocalStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    LocalStore(Path(sys.argv[1])).put('dump', bytes(200_000))\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True
    )
    assert answer.stdout == f"`{root}/dump` could not be written: file too large\n"
    assert files_below(root) == []
    assert [*store.list()] == []


# ── rights ───────────────────────────────────────────────────────────────────────────────────────


def as_ordinary_user(work: Callable[[], None]) -> None:
    """Run `work` in a child that is not root; its assertions decide."""
    with warnings.catch_warnings():
        # Newer Pythons warn that threads do not survive a fork; the child needs none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(ORDINARY)
                os.setuid(ORDINARY)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A folder that any user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_folder_is_denied(open_root: Path) -> None:
    store = LocalStore(open_root)
    store.put("theirs", b"x")
    (open_root / "theirs").chmod(0o000)
    (open_root / "closed").mkdir(mode=0o000)
    open_root.chmod(0o555)

    def work() -> None:
        for verb in (
            lambda: store.put("name", b"x"),
            lambda: store.put("new/name", b"x"),
            lambda: store.get("theirs"),
            lambda: store.delete("theirs"),
            lambda: store.head("closed/name"),
            lambda: [*store.list()],
        ):
            with pytest.raises(StoreDenied, match="permission denied") as caught:
                verb()
            assert (caught.value.hint or "").startswith("id ")
        assert [info.name for info in store.list(recursive=False)] == ["theirs"]

    try:
        as_ordinary_user(work)
    finally:
        (open_root / "closed").chmod(0o700)
        open_root.chmod(0o755)
    assert files_below(open_root) == ["theirs"]


def test_a_read_only_disk_is_denied(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreDenied, match="read-only"):
        LocalStore(small_disk).put("name", b"x")
