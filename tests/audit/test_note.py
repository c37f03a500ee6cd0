"""Signed notes of anchors: what was signed is what is read, and nothing else is."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.note import AnchorNote, decode, encode
from alexandria_backup.errors import ManifestInvalid, WrongKey
from alexandria_backup.sealing.signing import SigningKey, open_note, sign_note

KEY: Final = SigningKey.from_seed("anchors.example.org", bytes(32))
NOTE: Final = AnchorNote(
    application="app",
    database="db",
    system_identifier=7,
    table="public.audit_logs",
    at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    status="intact",
    anchors=(
        Anchor(
            chain="", count=3, first_id="a", first_hmac="0", last_id="c", last_hmac="2",
            rolling="ff", settled="00", incarnation="restore-1",
        ),
    ),
)  # fmt: skip


def test_what_was_signed_is_read() -> None:
    document = encode(NOTE, KEY)
    assert decode(document.encode(), (KEY.trusted,)) == NOTE
    assert NOTE.name == "app-20261123T120000000000-3.anchor"
    assert NOTE.concerns("app", "db")
    assert not NOTE.concerns("app", "other")
    assert open_note(document, (KEY.trusted,)).text.startswith('{\n "role": "audit-anchor"')


def test_another_hand_is_not_believed() -> None:
    stranger = SigningKey.from_seed("anchors.example.org", bytes(range(32)))
    with pytest.raises(WrongKey):
        decode(encode(NOTE, stranger).encode(), (KEY.trusted,))
    altered = encode(NOTE, KEY).replace('"count": 3', '"count": 2')
    with pytest.raises(ManifestInvalid, match="altered"):
        decode(altered.encode(), (KEY.trusted,))


@pytest.mark.parametrize(
    "change",
    [
        {"role": "manifest"},
        {"format": 2},
        {"anchors": None},
        {"anchors": [{"count": 1}]},
        {"anchors": [{"count": "1"}]},
        {"at": "yesterday"},
        {"more": 1},
    ],
)
def test_a_signature_under_something_else_makes_no_anchor(change: dict[str, object]) -> None:
    told = json.loads(open_note(encode(NOTE, KEY), (KEY.trusted,)).text)
    document = sign_note(json.dumps({**told, **change}) + "\n", KEY)
    with pytest.raises(ManifestInvalid):
        decode(document.encode(), (KEY.trusted,))


@pytest.mark.parametrize("data", [b"", b"\xff", b"x" * 20_000_000, b"[]\n\nx"])
def test_what_is_no_note_at_all(data: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        decode(data, (KEY.trusted,))


def test_names_sort_by_time() -> None:
    later = replace(NOTE, at=datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC))
    assert NOTE.name < later.name
