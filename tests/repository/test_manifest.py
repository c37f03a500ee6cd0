import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria_backup.errors import ManifestInvalid, WrongKey
from alexandria_backup.repository.manifest import Manifest, decode, encode
from alexandria_backup.sealing.signing import SigningKey, sign_note

Build = Callable[..., Manifest]

KEY = SigningKey.from_seed("ours.example", bytes(32))
STRANGER = SigningKey.from_seed("stranger.example", bytes([1]) * 32)


@pytest.fixture
def changed(build: Build) -> Callable[..., bytes]:
    """Return what makes a document with one value changed, given by its path of keys."""

    def change(*path: str | int, to: object) -> bytes:
        document = json.loads(encode(build(), None))
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to
        return f"{json.dumps(document, indent=1)}\n".encode()

    return change


class TestRoundTrip:
    def test_unsigned(self, build: Build) -> None:
        opened = decode(encode(build(), None), [])
        assert opened.manifest == build()
        assert (opened.signers, opened.signed) == ((), False)

    def test_signed(self, build: Build) -> None:
        opened = decode(encode(build(), KEY), [STRANGER.trusted, KEY.trusted])
        assert opened.manifest == build()
        assert (opened.signers, opened.signed) == (("ours.example",), True)

    def test_signatures_that_nobody_checks_are_not_believed(self, build: Build) -> None:
        opened = decode(encode(build(), KEY), [])
        assert opened.manifest == build()
        assert (opened.signers, opened.signed) == ((), True)

    def test_the_document_is_text_for_people(self, build: Build) -> None:
        text = encode(build(), KEY).decode()
        assert text.startswith('{\n "role": "manifest",\n "format": 1,')
        assert "— ours.example " in text
        assert "\x1b" not in text

    def test_times_are_in_utc_whatever_was_written(self, changed: Callable[..., bytes]) -> None:
        document = changed("created", to="2026-11-23T14:00:00+05:00")
        created = decode(document, []).manifest.created
        assert created == datetime(2026, 11, 23, 9, tzinfo=UTC)
        assert created.utcoffset() == datetime.now(UTC).utcoffset()


class TestTrust:
    def test_an_unsigned_manifest_is_refused(self, build: Build) -> None:
        with pytest.raises(ManifestInvalid, match="signature"):
            decode(encode(build(), None), [KEY.trusted])

    def test_a_strangers_manifest_is_refused(self, build: Build) -> None:
        with pytest.raises(WrongKey, match=r"stranger\.example"):
            decode(encode(build(), STRANGER), [KEY.trusted])

    def test_an_altered_manifest_is_refused(self, build: Build) -> None:
        document = encode(build(), KEY)
        altered = document.replace(b'"rows": 3', b'"rows": 4')
        assert altered != document
        with pytest.raises(ManifestInvalid, match="altered"):
            decode(altered, [KEY.trusted])

    def test_a_signature_of_something_else_does_not_do(self) -> None:
        signed = sign_note('{"role": "capture", "format": 1}\n', KEY)
        with pytest.raises(ManifestInvalid, match="role"):
            decode(signed.encode(), [KEY.trusted])

    def test_what_does_not_say_that_it_is_a_manifest_is_none(self, build: Build) -> None:
        document = json.loads(encode(build(), None))
        for name in ("role", "format"):
            lacking = {key: value for key, value in document.items() if key != name}
            signed = sign_note(json.dumps(lacking) + "\n", KEY).encode()
            for trusted in ([KEY.trusted], []):
                with pytest.raises(ManifestInvalid, match=name):
                    decode(signed, trusted)

    def test_an_empty_line_in_a_note_is_no_end(self, build: Build) -> None:
        note = "first\n\n— ours.example c2lnbmVk\n"
        for key in (None, KEY):
            assert decode(encode(build(note=note), key), []).manifest.note == note
        assert decode(encode(build(note=note), KEY), [KEY.trusted]).manifest.note == note


class TestMalformed:
    def test_another_format_names_both(self, changed: Callable[..., bytes]) -> None:
        with pytest.raises(ManifestInvalid, match=r"format 2.* format 1"):
            decode(changed("format", to=2), [])

    @pytest.mark.parametrize("number", [True, 1.0, "1", None])
    def test_a_format_that_is_no_number_is_refused(
        self, changed: Callable[..., bytes], number: object
    ) -> None:
        with pytest.raises(ManifestInvalid, match="version"):
            decode(changed("format", to=number), [])

    @pytest.mark.parametrize(
        "name", ["../x", "/etc/passwd", "a/b", "..", ".", "", "a\x00b", "a\nb", "x.part", "y" * 300]
    )
    @pytest.mark.parametrize("path", [("archive", "name"), ("snapshot",)])
    def test_names_are_plain_file_names(
        self, changed: Callable[..., bytes], path: tuple[str, ...], name: str
    ) -> None:
        with pytest.raises(ManifestInvalid, match="plain file name"):
            decode(changed(*path, to=name), [])

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("archive", "bytes"), -1),
            (("archive", "bytes"), "5"),
            (("archive", "bytes"), 5.5),
            (("archive", "bytes"), 2**63),
            (("archive", "bytes"), float("nan")),
            (("archive", "sha256"), "0" * 63),
            (("archive", "sha256"), "G" * 64),
            (("tables", 0, "rows"), -1),
            (("tables", 0, "rows"), 10**4000),
            (("kind",), "weekly"),
            (("role",), "capture"),
            (("origin",), 1),
            (("archive", "name"), None),
            (("repository",), "r1"),
            (("created",), "2026-11-23T12:00:00"),
            (("created",), 1_700_000_000),
            (("created",), "0001-01-01T00:00:00+05:00"),
            (("created",), "9999-12-31T23:59:59-05:00"),
            (("database",), None),
            (("database", "grants"), [["a", "b"]]),
            (("rendering",), {"TimeZone": 1}),
            (("unknown",), 1),
        ],
    )
    def test_a_value_that_cannot_be_is_refused(
        self, changed: Callable[..., bytes], path: tuple[str | int, ...], value: object
    ) -> None:
        with pytest.raises(ManifestInvalid, match="malformed"):
            decode(changed(*path, to=value), [])

    def test_what_is_missing_is_named(self, build: Build) -> None:
        document = json.loads(encode(build(), None))
        del document["archive"]["sha256"]
        with pytest.raises(ManifestInvalid, match=r"archive\.sha256"):
            decode(json.dumps(document).encode(), [])

    def test_a_key_given_twice_is_refused(self, build: Build) -> None:
        twice = encode(build(), None).replace(b' "note"', b' "application": "x",\n "note"', 1)
        with pytest.raises(ManifestInvalid):
            decode(twice, [])

    def test_an_unknown_key_is_shown_without_control_characters(
        self, changed: Callable[..., bytes]
    ) -> None:
        with pytest.raises(ManifestInvalid) as caught:
            decode(changed("\x1b[2J", to=1), [])
        assert "\x1b" not in str(caught.value)

    @pytest.mark.parametrize(
        "document",
        [b"", b"\xff", b"null", b"[]", b"1", b"{", b"[" * 100_000, b"9" * 5000, b'{"format": NaN}'],
    )
    def test_what_is_no_manifest_is_refused(self, document: bytes) -> None:
        for trusted in ([], [KEY.trusted]):
            with pytest.raises(ManifestInvalid):
                decode(document, trusted)

    def test_what_follows_must_be_signatures(self, build: Build) -> None:
        with pytest.raises(ManifestInvalid, match="no signature"):
            decode(encode(build(), None) + b"\nand more\n", [])

    def test_a_document_cut_off_anywhere_is_refused(self, build: Build) -> None:
        document = encode(build(), None)
        for length in range(0, len(document) - 2, 97):
            with pytest.raises(ManifestInvalid):
                decode(document[:length], [])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(build: Build, data: st.DataObject) -> None:
    document = bytearray(encode(build(), KEY))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(document) - 1))
        document[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        damaged = decode(bytes(document), [])
    except ManifestInvalid:
        pass
    else:
        encode(damaged.manifest, None)
    try:
        believed = decode(bytes(document), [KEY.trusted])
    except (ManifestInvalid, WrongKey):
        return
    # Only where nothing that was signed has changed.
    assert believed.manifest == build()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_json_in_a_field_is_refused_or_read(build: Build, data: st.DataObject) -> None:
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=5,
    )
    document = json.loads(encode(build(), None))
    document[data.draw(st.sampled_from(sorted(document)))] = data.draw(anything)
    try:
        read = decode(json.dumps(document).encode(), []).manifest
    except ManifestInvalid:
        return
    assert decode(encode(read, None), []).manifest == read
