"""A key file is read as what it can be, refused when others can read it, and never shown."""

import base64
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.audit.judge import Judge
from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.errors import (
    CredentialsNotFound,
    SettingsInvalid,
    WrongKey,
)

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audit.key"
    path.touch(mode=0o600)
    return path


def keys(path: Path, encoding: str | None) -> list[bytes]:
    return [key for _, key in AuditKey.load(path, encoding).reveal()]


def test_each_encoding(path: Path) -> None:
    path.write_bytes(KEY)
    assert keys(path, "raw") == [KEY]
    path.write_text(KEY.hex() + "\n")
    assert keys(path, "hex") == [KEY]
    path.write_text(base64.urlsafe_b64encode(KEY).decode().rstrip("=") + "\n")
    assert keys(path, "base64") == [KEY]


def test_a_line_feed_may_be_the_keys_or_an_editors(path: Path) -> None:
    path.write_bytes(KEY + b"\n")
    assert keys(path, "raw") == [KEY + b"\n", KEY]


def test_without_an_encoding_all_readings_are_candidates(path: Path) -> None:
    path.write_text(KEY.hex())
    assert keys(path, None)[0] == KEY
    assert KEY.hex().encode() in keys(path, None)


@pytest.mark.parametrize("reading", range(2))
def test_one_row_chooses_the_reading(path: Path, reading: int) -> None:
    path.write_text(KEY.hex())
    key = AuditKey.load(path)
    encoding, used = [key.reveal()[0], ("raw", KEY.hex().encode())][reading]
    values = [b"x"] * len(ALEXANDRIA_V1.fields)
    body = ALEXANDRIA_V1.body(values, ALEXANDRIA_V1.genesis)
    stored = ALEXANDRIA_V1.compute(used, values, ALEXANDRIA_V1.genesis)
    judge = Judge(ALEXANDRIA_V1, key)
    assert judge.compute(body, b"00" * 32) is None
    assert judge.encoding is None
    assert judge.compute(body, stored.hex().encode()) == stored
    assert judge.encoding == encoding


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    path.write_bytes(KEY)
    path.chmod(mode)
    with pytest.raises(CredentialsNotFound, match="other users") as caught:
        AuditKey.load(path, "raw")
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", None),
        (b"\n", "raw"),
        (b"tiny!", "raw"),
        (b"00" * 8, "hex"),
        (b"abc", "hex"),
        (b"zz" * 32, "hex"),
        (b"!" * 44, "base64"),
        (b"x" * 5000, "raw"),
    ],
)
def test_what_is_no_key(path: Path, content: bytes, encoding: str | None) -> None:
    path.write_bytes(content)
    with pytest.raises(WrongKey) as caught:
        AuditKey.load(path, encoding)
    assert len(content) < 4 or content.decode() not in str(caught.value)


def test_a_file_that_is_not_there_and_an_encoding_that_is_none(path: Path) -> None:
    with pytest.raises(CredentialsNotFound, match="No such file"):
        AuditKey.load(path.with_name("other"), "raw")
    with pytest.raises(SettingsInvalid, match="rot13"):
        AuditKey.load(path, "rot13")


@given(st.binary(min_size=16, max_size=64))
def test_no_key_is_shown(key: bytes) -> None:
    shown = f"{AuditKey.of(key)!r} {AuditKey.of(key)}"
    assert shown == "AuditKey(***) AuditKey(***)"
    with pytest.raises(TypeError):
        pickle.dumps(AuditKey.of(key))
