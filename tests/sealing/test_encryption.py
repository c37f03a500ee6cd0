import base64
import os
import pickle
import threading
from collections.abc import Callable, Generator, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import Buffer

from alexandria_backup.errors import ObjectExists, SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.sealing.encryption import (
    HEADER,
    OVERHEAD_BYTES,
    Identity,
    Recipient,
    seal,
    seal_stream,
    sealed_chunks,
    unseal,
    unseal_stream,
    unsealed_chunks,
)

OURS = Identity.generate()
THEIRS = Identity.generate()

#: A pair in the form of `age-keygen`, and a file sealed to it in November 2026.
GOLDEN_SECRET = "AGE-SECRET-KEY-1CH2KL6U9TY88JNPQC7UTKDZEZALSN056AJZ52N3F8WCT35G2D6FSXWXJV7"
GOLDEN_PUBLIC = "age15yxy7j5jrre6z2e7vghh0q3vt6z40w6mwdm93wmed44zrmkxvf8stss4xg"
GOLDEN_FILE = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBNdDZBbmhncnd6dTBLVnJaUFVpdytWcUVOOFJsVWdMNGdR"
    "ZTM3STZBVWdzCkFmNmExTmo4ZG5MNm4xMWFEZlBxTFdJaGs4eWE1SXluekRzZUhJbnBtYWMKLT4gX2guSi1ncmVh"
    "c2UKS1UrNHhkcWdQSlR1NWk0eFIwMzltaUd0VG9jUEx6eng0Z1JoWG1zaVd2Zkw0Y3pacWJnVU42UFVzbUkzZG5u"
    "YgpiS3UveDE3RU1jT09NZW5YCi0tLSBvb1BLNTRDTVNleTZZWEJnWitMUWovZXhERkRjUG56bEJmZUxiUzh2bXJV"
    "CswnC287YnmNrH93huoW0KeS1EqhWYncNJH1A/OSxvpDXzoM75cs"
)


def streamed(data: bytes, *identities: Identity) -> bytes:
    target = BytesIO()
    unseal_stream(BytesIO(data), target, identities)
    return target.getvalue()


def whole(data: bytes, *identities: Identity) -> bytes:
    return unseal(data, identities)


both_ways = pytest.mark.parametrize("opened", [whole, streamed])
Opened = Callable[..., bytes]


@given(st.binary(max_size=200))
def test_each_recipient_opens_it(data: bytes) -> None:
    sealed = seal(data, [OURS.recipient, THEIRS.recipient])
    assert whole(sealed, OURS) == whole(sealed, THEIRS) == streamed(sealed, OURS) == data


def test_golden(tmp_path: Path) -> None:
    assert whole(GOLDEN_FILE, *Identity.load_all(_private(tmp_path, GOLDEN_SECRET))) == b"golden"


def test_what_is_sealed_as_a_stream_is_opened_as_bytes() -> None:
    text = bytes(range(256)) * 1000
    target = BytesIO()
    seal_stream(BytesIO(text), target, [OURS.recipient])
    assert whole(target.getvalue(), THEIRS, OURS) == text


def test_sealing_adds_little() -> None:
    recipients = [Identity.generate().recipient for _ in range(50)]
    text = bytes(32 << 20)
    assert len(seal(text, recipients)) - len(text) < OVERHEAD_BYTES


def test_nothing_is_sealed_to_nobody() -> None:
    with pytest.raises(WrongKey, match="to nobody"):
        seal(b"text", [])


@both_ways
def test_others_cannot_open_it(opened: Opened) -> None:
    sealed = seal(b"text", [THEIRS.recipient])
    with pytest.raises(WrongKey, match="other recipients") as caught:
        opened(sealed, OURS)
    assert "identity_file" in (caught.value.hint or "")
    with pytest.raises(WrongKey, match="other recipients"):
        opened(sealed)


@both_ways
def test_damage_is_told_from_a_wrong_key(opened: Opened) -> None:
    sealed = seal(b"some text", [OURS.recipient])
    for end in range(len(sealed)):
        with pytest.raises(SnapshotDamaged):
            opened(sealed[:end], OURS)
    with pytest.raises(SnapshotDamaged, match="altered"):
        opened(sealed[:-1] + bytes([sealed[-1] ^ 1]), OURS)
    with pytest.raises(SnapshotDamaged, match="not an age file"):
        opened(b"text", OURS)


@given(st.binary(max_size=100))
def test_no_bytes_make_it_fail_in_another_way(tail: bytes) -> None:
    for data in (tail, HEADER + tail, HEADER + b"-> X25519 " + tail):
        with pytest.raises((SnapshotDamaged, WrongKey)):
            whole(data, OURS)


class Failing(BytesIO):
    """A stream that fails after its first bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError("the cable was pulled")
        return super().read(len(HEADER))

    def write(self, data: Buffer, /) -> int:
        raise OSError("the cable was pulled")


def test_streams_that_fail_are_not_taken_for_damage() -> None:
    sealed = seal(b"some text", [OURS.recipient])
    with pytest.raises(StorageError, match="sealing stopped"):
        seal_stream(Failing(b"some text that is long enough"), BytesIO(), [OURS.recipient])
    with pytest.raises(StorageError, match="opening stopped: the cable was pulled"):
        unseal_stream(Failing(sealed), BytesIO(), [OURS])
    with pytest.raises(StorageError, match="opening stopped: the cable was pulled"):
        unseal_stream(BytesIO(sealed), Failing(), [OURS])


class TestRecipient:
    def test_it_is_read_and_written(self) -> None:
        text = str(OURS.recipient)
        assert Recipient.parse(f" {text}\n") == OURS.recipient
        assert pickle.loads(pickle.dumps(OURS.recipient)) == OURS.recipient  # noqa: S301 - ours

    @pytest.mark.parametrize(
        "text",
        ["", "age1", "ssh-ed25519 AAAA", str(OURS.recipient)[:-1]],
        ids=["empty", "begun", "of-ssh", "cut"],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(WrongKey, match="not an age recipient"):
            Recipient.parse(text)

    def test_a_secret_key_in_its_place_is_not_shown(self) -> None:
        with pytest.raises(WrongKey) as caught:
            Recipient.parse(GOLDEN_SECRET.lower())
        assert GOLDEN_SECRET.lower()[20:40] not in str(caught.value)


class TestIdentityFile:
    def test_what_is_saved_is_loaded_and_for_its_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "identity.txt"
        OURS.save(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert Identity.load_all(path) == (OURS,)
        assert str(OURS.recipient) in path.read_text()

    def test_it_is_never_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "identity.txt"
        OURS.save(path)
        with pytest.raises(ObjectExists, match="exists already"):
            THEIRS.save(path)
        assert Identity.load_all(path) == (OURS,)

    def test_a_folder_that_is_missing_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="cannot be written"):
            OURS.save(tmp_path / "nowhere" / "identity.txt")

    def test_what_age_keygen_writes_is_read(self, tmp_path: Path) -> None:
        path = _private(tmp_path, f"# created: 2026\n\n{GOLDEN_SECRET}\r\n{OURS._key}\n")
        found = Identity.load_all(path)
        assert [str(identity.recipient) for identity in found] == [
            GOLDEN_PUBLIC,
            str(OURS.recipient),
        ]

    @pytest.mark.parametrize("text", ["", "# nothing", GOLDEN_SECRET[:-1], GOLDEN_PUBLIC, "ä"])
    def test_another_file_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(WrongKey, match="no age identity") as caught:
            Identity.load_all(_private(tmp_path, text))
        assert GOLDEN_SECRET[20:40] not in str(caught.value)

    def test_one_that_others_can_read_is_refused(self, tmp_path: Path) -> None:
        path = _private(tmp_path, GOLDEN_SECRET)
        path.chmod(0o640)
        with pytest.raises(WrongKey, match="can be read by others"):
            Identity.load_all(path)


def _private(folder: Path, text: str) -> Path:
    path = folder / "identity.txt"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_an_identity_is_never_shown_and_never_leaves_the_process() -> None:
    secret = str(OURS._key)
    for shown in (repr(OURS), str(OURS), f"{OURS}", f"{OURS!r}"):
        assert secret not in shown
        assert "SECRET" not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(OURS)


def test_streams_are_sealed_and_opened_as_their_chunks_come() -> None:
    identity = Identity.generate()
    data = os.urandom(700_000)
    pieces = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
    sealed = b"".join(sealed_chunks(pieces, [identity.recipient]))
    assert sealed.startswith(HEADER)
    assert b"".join(unsealed_chunks([sealed[:10], sealed[10:]], [identity])) == data


def test_what_a_source_raises_comes_through_a_stream() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise LookupError("the source is gone")

    with pytest.raises(LookupError, match="the source is gone"):
        list(sealed_chunks(broken(), [Identity.generate().recipient]))


def test_a_stream_that_nobody_reads_on_ends() -> None:
    endless = (bytes(1 << 20) for _ in iter(int, 1))
    chunks = sealed_chunks(endless, [Identity.generate().recipient])
    assert isinstance(chunks, Generator)
    assert next(chunks)
    chunks.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "age"]


def test_a_stream_that_was_cut_or_sealed_to_others_is_refused() -> None:
    identity = Identity.generate()
    sealed = b"".join(sealed_chunks([bytes(500_000)], [identity.recipient]))
    with pytest.raises(SnapshotDamaged, match="cut off"):
        list(unsealed_chunks([sealed[:300_000]], [identity]))
    with pytest.raises(WrongKey, match="other recipients"):
        list(unsealed_chunks([sealed], [Identity.generate()]))
