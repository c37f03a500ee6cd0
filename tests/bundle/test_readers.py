"""Small files read by other processes: not another byte, whatever becomes of the processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from bundle_support import pack

from alexandria_backup.bundle import readers
from alexandria_backup.bundle.exclusions import Excluder, Exclusions
from alexandria_backup.bundle.found import Files
from alexandria_backup.bundle.manifest import SetContents
from alexandria_backup.bundle.readers import Readers
from alexandria_backup.bundle.small import Batch
from alexandria_backup.bundle.walk import Walk

NOTHING = Exclusions(patterns={})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders of small files, and among them what must be looked at by itself."""
    folder = tmp_path / "app"
    for number in range(12):
        below = folder / f"{number:02}"
        below.mkdir(parents=True)
        for name in range(20):
            (below / f"{name}.json").write_text(f'{{"id": {number * name}}}\n')
        (below / "link").symlink_to("1.json")
        (below / "twice").hardlink_to(below / "2.json")
        (below / os.fsdecode(b"not-utf8-\xff")).write_text("odd")
    return folder


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start processes for the first files; look that none is left."""
    monkeypatch.setattr(readers, "_WORTH_A_PROCESS", 30)
    yield
    # Servers of other tests may be children, too.
    left = [one.cmdline() for one in psutil.Process().children()]
    assert not [words for words in left if "alexandria_backup.bundle.reader_process" in words]


def walk(tree: Path) -> Walk:
    return Walk("all", SetContents(paths=(), roots=(str(tree),)), Excluder(NOTHING))


def plain(tree: Path) -> tuple[bytes, int]:
    """Return the bundle and the room as one process sees them."""
    return pack({"all": [tree]}, threads=1)[0], Readers(NOTHING, 1).room(walk(tree).batches())


@pytest.mark.usefixtures("few_are_enough")
def test_the_bundle_and_the_room_are_the_same(tree: Path) -> None:
    alone, room = plain(tree)
    several = Readers(NOTHING, 3)
    assert several.room(walk(tree).batches()) == room > 0
    assert len(several._started) == 3
    assert pack({"all": [tree]}, readers=several)[0] == alone


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("after", [0, 3, 9])
def test_a_process_that_is_killed_is_no_loss(tree: Path, after: int) -> None:
    _, room = plain(tree)
    several = Readers(NOTHING, 2)
    assert several.room(walk(tree).batches()) == room
    entries = names = 0
    for number, (item, reads) in enumerate(several.over(walk(tree).batches())):
        if number == after:
            for process in several._started:
                process._process.kill()
        if isinstance(item, Files):
            taken = list(reads)
            entries += sum(one.entries for one in taken if isinstance(one, Batch))
            names += sum(isinstance(one, str) for one in taken)
    several.close()
    # Of each folder all but a link: a file with two names is looked at by itself, both times.
    assert (entries, names) == (12 * 19, 12 * 3)


@pytest.mark.usefixtures("few_are_enough")
def test_processes_end_where_something_goes_wrong(tree: Path) -> None:
    several = Readers(NOTHING, 2)

    def stumble() -> None:
        with several.kept():
            several.room(walk(tree).batches())
            assert several._started
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stumble()
    assert several._started == []


@pytest.mark.usefixtures("few_are_enough")
def test_what_lies_in_the_present_folder_is_no_module(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, room = plain(tree)
    (tree.parent / "pickle.py").write_text(f"open({str(tree.parent / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tree.parent)
    several = Readers(NOTHING, 2)
    assert several.room(walk(tree).batches()) == room
    several.close()
    assert not (tree.parent / "ran").exists()


def test_a_few_files_start_nothing(tree: Path) -> None:
    several = Readers(NOTHING, 4)
    several.room(walk(tree).batches())
    assert several._started == []
