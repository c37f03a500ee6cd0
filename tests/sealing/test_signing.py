import base64
import subprocess
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.errors import (
    AlexandriaError,
    ExitCode,
    ManifestInvalid,
    ObjectExists,
    WrongKey,
)
from alexandria_backup.sealing.signing import SigningKey, TrustedKey, open_note, sign_note

#: The example of Go's golang.org/x/mod/sumdb/note, which C2SP signed-note was made of.
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TRUSTED = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = (
    f"{GO_TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvq"
    "fqdngotpRZb6KE6RyyBwJnAM=\n"
)
KEY = SigningKey.from_seed("backup.example.com", bytes(range(32)))
#: The same key, as `openssl genpkey` writes keys.
PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
"""
OTHER = SigningKey.from_seed("other.example.com", bytes(range(1, 33)))
TEXT = "manifest\nrepository 1\n\nwith an empty line\n"


def test_the_example_of_go_is_verified_and_made() -> None:
    key = SigningKey.from_seed("PeterNeumann", GO_SEED)
    assert str(key.trusted) == GO_TRUSTED
    assert sign_note(GO_TEXT, key) == GO_NOTE
    opened = open_note(GO_NOTE, [TrustedKey.parse(GO_TRUSTED)])
    assert (opened.text, opened.signers) == (GO_TEXT, ("PeterNeumann",))


def test_what_is_signed_is_opened() -> None:
    opened = open_note(sign_note(TEXT, KEY), [OTHER.trusted, KEY.trusted])
    assert (opened.text, opened.signers) == (TEXT, ("backup.example.com",))


def test_signatures_of_strangers_are_passed_over() -> None:
    stranger = sign_note(TEXT, OTHER).rpartition("\n\n")[2]
    for document in (sign_note(TEXT, KEY) + stranger, TEXT + "\n" + stranger * 3 + signature(KEY)):
        assert open_note(document, [KEY.trusted]).signers == ("backup.example.com",)
    both = open_note(sign_note(TEXT, KEY) + stranger, [KEY.trusted, OTHER.trusted])
    assert both.signers == ("backup.example.com", "other.example.com")


def signature(key: SigningKey, text: str = TEXT) -> str:
    return sign_note(text, key).rpartition("\n\n")[2]


@pytest.mark.parametrize("trusted", [[], [OTHER.trusted]])
def test_nobody_trusted_has_signed(trusted: list[TrustedKey]) -> None:
    with pytest.raises(WrongKey) as caught:
        open_note(sign_note(TEXT, KEY), trusted)
    assert caught.value.exit_code == ExitCode.WRONG_KEY
    assert "`backup.example.com+" in caught.value.message


@pytest.mark.parametrize("name", ["x" * 5000, "\u202estranger", "\x9b2J"])
def test_the_name_of_a_stranger_is_shown_with_care(name: str) -> None:
    note = sign_note(TEXT, SigningKey.from_seed(name, bytes(32)))
    with pytest.raises(WrongKey, match="no trusted key has signed") as caught:
        open_note(note, [KEY.trusted])
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_another_key_of_the_same_name_is_a_stranger() -> None:
    impostor = SigningKey.from_seed(KEY.name, bytes(32))
    with pytest.raises(WrongKey):
        open_note(sign_note(TEXT, impostor), [KEY.trusted])


def test_every_changed_character_of_the_text_is_found() -> None:
    document = sign_note(TEXT, KEY)
    for at in range(len(TEXT)):
        changed = chr(ord(document[at]) ^ 1)
        with pytest.raises((ManifestInvalid, WrongKey)):
            open_note(document[:at] + changed + document[at + 1 :], [KEY.trusted])


def test_a_good_signature_does_not_cover_for_a_bad_one() -> None:
    lines = signature(KEY) + signature(OTHER, "another text\n")
    with pytest.raises(ManifestInvalid, match=r"other\.example\.com"):
        open_note(f"{TEXT}\n{lines}", [KEY.trusted, OTHER.trusted])


@pytest.mark.parametrize(
    "document",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n\n",
        sign_note(TEXT, KEY)[:-1],
        sign_note(TEXT, KEY) + "\n",
        sign_note(TEXT, KEY).replace("— ", "- "),
        sign_note(TEXT, KEY).replace("\n", "\r\n"),
        f"{TEXT}\n— backup.example.com AAAA\n",
        f"{TEXT}\n— backup.example.com ====\n",
        f"{TEXT}\n— backup+example {'A' * 96}\n",
        f"{TEXT}\n" + signature(OTHER) * 101,
        "tab\t\n\n" + signature(KEY),
        "\ud800\n\n" + signature(KEY),
    ],
)
def test_what_is_no_signed_note(document: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        open_note(document, [KEY.trusted])
    assert caught.value.exit_code == ExitCode.SNAPSHOT_DAMAGED


@given(st.text(max_size=200) | st.text(max_size=60).map(lambda text: sign_note(TEXT, KEY) + text))
def test_any_document_is_opened_or_refused(document: str) -> None:
    try:
        opened = open_note(document, [KEY.trusted])
    except (ManifestInvalid, WrongKey):
        return
    assert opened.text == TEXT


@pytest.mark.parametrize("text", ["", "no line feed", "carriage\r\n", "\ud800\n"])
def test_what_cannot_be_signed(text: str) -> None:
    with pytest.raises(ManifestInvalid):
        sign_note(text, KEY)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_key_is_read_in_each_form(tmp_path: Path) -> None:
    seed = bytes(range(32))
    forms = [PEM, seed, base64.b64encode(seed), base64.b64encode(seed) + b"\n"]
    for number, data in enumerate(forms):
        path = written(tmp_path / str(number), data)
        assert SigningKey.load(path, name=KEY.name).trusted == KEY.trusted


def test_a_key_of_openssl_is_read(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no `openssl` on this machine")
    path.chmod(0o600)
    key = SigningKey.load(path)
    assert open_note(sign_note(TEXT, key), [key.trusted]).signers == (key.name,)


def test_a_saved_key_is_loaded_also_by_openssl(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == PEM
    assert SigningKey.load(path, name=KEY.name).trusted == KEY.trusted
    with pytest.raises(ObjectExists, match="exists already"):
        OTHER.save(path)
    assert path.read_bytes() == PEM


def test_the_digest_key_is_each_key_s_own_and_stays_the_same() -> None:
    golden = "a6a313a38908504317c792214d897934d7c02e608790a3f825e171e8203d64d1"
    assert KEY.digest_key().hex() == golden
    assert OTHER.digest_key() != KEY.digest_key()
    renamed = SigningKey.from_seed("another.example.com", bytes(range(32)))
    assert renamed.digest_key() == KEY.digest_key()


def test_generated_keys_differ() -> None:
    assert SigningKey.generate("a").trusted != SigningKey.generate("a").trusted


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", PEM, mode)
    with pytest.raises(WrongKey, match="can be read by others") as caught:
        SigningKey.load(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither PEM nor a seed"),
        (b"x" * 31, "neither PEM nor a seed"),
        (base64.b64encode(b"x" * 31), "neither PEM nor a seed"),
        (b"\xff" * 5000, "neither PEM nor a seed"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a readable PEM"),
        (b"-----BEGIN PRIVATE KEY-----\n", "not a readable PEM"),
    ],
)
def test_what_is_no_key(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(WrongKey, match=words):
        SigningKey.load(written(tmp_path / "key", data))


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    plain = other.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    with pytest.raises(WrongKey, match="not an Ed25519 key"):
        SigningKey.load(written(tmp_path / "plain", plain))
    locked = other.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"pass")
    )
    with pytest.raises(WrongKey, match="encrypted with a passphrase"):
        SigningKey.load(written(tmp_path / "locked", locked))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongKey, match="No such file"):
        SigningKey.load(tmp_path / "none")
    with pytest.raises(WrongKey, match="directory"):
        SigningKey.load(tmp_path)


def test_no_secret_shows(tmp_path: Path) -> None:
    seed = b"a seed nobody may ever read, no!"
    key = SigningKey.from_seed("name", seed)
    path = written(tmp_path / "key", base64.b64encode(seed)[:-2])
    try:
        SigningKey.load(path)
    except AlexandriaError:
        shown = traceback.format_exc() + repr(key) + str(key)
    else:
        pytest.fail("a cut key was read")
    assert base64.b64encode(seed)[:12].decode() not in shown
    assert "nobody" not in shown


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "\x7f"])
def test_names_that_a_note_cannot_carry(name: str) -> None:
    with pytest.raises(WrongKey):
        SigningKey.generate(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+c74f20a3",
        "name+c74f20a3+!!!",
        "name+zz+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        GO_TRUSTED.replace("Peter", "Petra"),
        GO_TRUSTED.replace("+c7", "+c8"),
        GO_TRUSTED[:-4],
        GO_TRUSTED.replace("+AR", "+Ah"),
    ],
)
def test_what_is_no_trusted_key(text: str) -> None:
    with pytest.raises(WrongKey):
        TrustedKey.parse(text)


@given(st.text(max_size=60) | st.text(max_size=20).map(lambda text: GO_TRUSTED + text))
def test_any_text_is_a_trusted_key_or_refused(text: str) -> None:
    try:
        key = TrustedKey.parse(text)
    except WrongKey:
        return
    assert TrustedKey.parse(str(key)) == key
