"""Names: what the port takes, and what it refuses."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.errors import UsageError
from alexandria_backup.storage.store import check_name, check_prefix, is_name

#: Text that is more often hostile than random text is.
PARTS = st.lists(st.sampled_from(["..", ".", "", "a", "ä", " ", "\0", ".part", "a.part", "\\"]))
TEXTS = st.text() | PARTS.map("/".join)


@given(TEXTS)
def test_a_name_that_is_taken_stays_below_the_store(name: str) -> None:
    if not is_name(name):
        with pytest.raises(UsageError) as caught:
            check_name(name)
        # Shown escaped: the name may be hostile to a terminal, too.
        assert caught.value.message.isascii()
        return
    check_name(name)
    path = PurePosixPath("/store") / name
    assert path.is_relative_to("/store")
    assert ".." not in path.parts
    assert str(path) == f"/store/{name}"
    assert name.isprintable() or not any(ord(character) < 32 for character in name)
    assert name.encode().decode() == name


@given(TEXTS, st.integers(min_value=0))
def test_a_beginning_of_a_name_is_a_prefix(name: str, length: int) -> None:
    if is_name(name):
        prefix = name[:length]
        parts = prefix.split("/")
        if not {".", ".."} & set(parts):
            check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "snapshots/alexandria-ee-2026", "x.part"])
def test_prefixes(prefix: str) -> None:
    check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["/", "/a", "..", "../", "a//", "a/../", "\0"])
def test_prefixes_of_no_name(prefix: str) -> None:
    with pytest.raises(UsageError, match="is refused"):
        check_prefix(prefix)
