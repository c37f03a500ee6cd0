"""Names that a file system takes for one are found before anything is written."""

import os
from pathlib import Path

import pytest
from bundle_support import a_file, another

from alexandria_backup.bundle.entry import Kind
from alexandria_backup.bundle.twins import Folding, folding, twins

CASE = Folding(case=True, forms=False)
FORMS = Folding(case=False, forms=True)
BOTH = Folding(case=True, forms=True)
NEITHER = Folding(case=False, forms=False)


def found(paths: list[str], fold: Folding) -> list[tuple[str, str]]:
    entries = [
        another(Kind.FOLDER, path[:-1]) if path.endswith("/") else a_file(path) for path in paths
    ]
    return list(twins(entries, fold))


@pytest.mark.parametrize(
    ("names", "fold", "count"),
    [
        (("A", "a"), CASE, 1),
        (("A", "a"), FORMS, 0),
        (("A", "a"), NEITHER, 0),
        (("STRASSE", "straße"), CASE, 1),
        (("e\u0301", "\u00e9"), FORMS, 1),
        (("e\u0301", "\u00e9"), CASE, 0),
        (("E\u0301", "\u00e9"), BOTH, 1),
        (("E\u0301", "\u00e9"), CASE, 0),
        (("A", "B", "a", "b"), CASE, 2),
        (("A", "a", "Á", "á"), CASE, 2),
    ],
)
def test_what_folds_to_the_same_is_told(names: tuple[str, ...], fold: Folding, count: int) -> None:
    assert len(found(["all/x/", *(f"all/x/{name}" for name in names)], fold)) == count


def test_names_are_compared_within_their_folder() -> None:
    paths = ["all/x/", "all/x/A/", "all/x/A/n", "all/x/B", "all/x/a/", "all/x/a/N", "all/x/b"]
    assert found(paths, CASE) == [("all/x/A", "all/x/a"), ("all/x/B", "all/x/b")]


def test_roots_are_compared_too() -> None:
    assert found(["all/etc/App/", "all/etc/App/one", "all/etc/app"], CASE) == [
        ("all/etc/App", "all/etc/app")
    ]
    assert found(["all/etc/App", "all/opt/app"], CASE) == []


def test_names_that_are_not_utf8_are_as_they_are() -> None:
    assert BOTH.fold(b"\xff\xc4") == b"\xff\xc4"


def test_a_folder_that_tells_all_names_apart(tmp_path: Path) -> None:
    if os.path.lexists(str(tmp_path).upper()):
        pytest.skip("the file system of temporary files folds names")
    assert folding(tmp_path) == NEITHER
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_made_nothing_is_known(tmp_path: Path) -> None:
    assert folding(tmp_path / "not there") == NEITHER


def test_a_real_file_system_that_folds_case_is_found_out(folding_disk: Path) -> None:
    assert folding(folding_disk).case
    assert [path.name for path in folding_disk.iterdir()] == []
