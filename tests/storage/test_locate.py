"""From what a person types to a store."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.errors import UsageError
from alexandria_backup.storage.cloud import CloudStore
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.locate import open_store, split_location
from alexandria_backup.storage.memory import MemoryStore


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/var/backups", "/var/backups"),
        ("/var/backups/", "/var/backups"),
        ("relative/folder", "{cwd}/relative/folder"),
        (".", "{cwd}"),
        ("~", "{home}"),
        ("~/backups", "{home}/backups"),
        ("file:///var/backups", "/var/backups"),
        ("file:/var/backups", "/var/backups"),
        ("file://localhost/var/with%20space", "/var/with space"),
        ("/odd/with%20percent", "/odd/with%20percent"),
        ("s3:not-a-url", "{cwd}/s3:not-a-url"),
    ],
)
def test_paths_are_folders(url: str, expected: str) -> None:
    store = open_store(url)
    assert isinstance(store, LocalStore)
    assert store.url == expected.format(cwd=Path.cwd(), home=os.environ["HOME"])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("S3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_buckets(url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    store = open_store(url)
    assert isinstance(store, CloudStore)
    assert store.url == shown
    assert store.free_bytes() is None


def test_opening_makes_nothing(tmp_path: Path) -> None:
    open_store(str(tmp_path / "new"))
    assert [*tmp_path.iterdir()] == []


def test_memory_is_new_each_time() -> None:
    first, second = open_store("memory:"), open_store("memory:")
    assert isinstance(first, MemoryStore)
    first.put("name", b"x")
    assert second.head("name") is None


@pytest.mark.parametrize(
    "url", ["https://host/path", "ftp://host/x", "s3a://bucket", "postgresql://user:pw@host/db"]
)
def test_another_scheme_is_refused_with_those_known(url: str) -> None:
    for function in (open_store, split_location):
        with pytest.raises(UsageError) as caught:
            function(url)
        for known in ("a path", "`file://`", "`s3://`", "`gs://`", "`az://`", "`memory:`"):
            assert known in caught.value.message
        assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:SECRET@bucket/prefix",
        "s3://SECRET@bucket",
        "az://container/prefix?sv=2024&sig=SECRET",
        "gs://bucket/prefix?key=SECRET",
        "s3://bucket#SECRET",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    for function in (open_store, split_location):
        with pytest.raises(UsageError, match="no credentials") as caught:
            function(url)
        assert "SECRET" not in caught.value.message + str(caught.value.hint)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3://",
        "s3:///prefix",
        "s3://buck et/x",
        "s3://bucket/../other",
        "s3://bucket//x",
        "file://host/path",
        "file:relative",
        "nul\0byte",
        "memory:name",
        "~no-such-user-here/x",
    ],
)
def test_what_is_no_place(url: str) -> None:
    with pytest.raises(UsageError):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a/b.pgdump", ("s3://bucket/a", "b.pgdump")),
        ("s3://bucket/b.pgdump", ("s3://bucket", "b.pgdump")),
        ("az://container/a/b/c", ("az://container/a/b", "c")),
        ("/var/backups/b.pgdump", ("/var/backups", "b.pgdump")),
        ("/b.pgdump", ("/", "b.pgdump")),
        ("b.pgdump", (".", "b.pgdump")),
        ("./b.pgdump", (".", "b.pgdump")),
        ("~/b.pgdump", ("~", "b.pgdump")),
        ("../b.pgdump", ("..", "b.pgdump")),
        ("file:///var/a%20b/c.pgdump", ("/var/a b", "c.pgdump")),
        ("memory:b.pgdump", ("memory:", "b.pgdump")),
    ],
)
def test_a_file_is_a_store_and_a_name(url: str, expected: tuple[str, str]) -> None:
    assert split_location(url) == expected


@pytest.mark.parametrize(
    "url", ["", "/", "s3://bucket", "s3://bucket/", "s3://bucket/a/", "a/", "..", ".", "memory:"]
)
def test_what_names_no_file(url: str) -> None:
    with pytest.raises(UsageError):
        split_location(url)


@given(st.text() | st.tuples(st.sampled_from(["s3://", "file:", "~", "/"]), st.text()).map("".join))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        container, name = split_location(text)
    except UsageError:
        return
    assert name
    assert "/" not in name or container == "memory:"
    assert container


def test_a_local_file_goes_the_way_round(tmp_path: Path) -> None:
    target = tmp_path / "a b" / "dump.pgdump"
    container, name = split_location(str(target))
    open_store(container).put(name, b"x")
    assert target.read_bytes() == b"x"
