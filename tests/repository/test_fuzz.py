"""Whatever bytes stand where a document should: it is refused or is one, and nothing else happens.

A slice runs by default, the whole by `make campaign`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from golden_repository import load
from hypothesis import given, settings
from hypothesis import strategies as st
from repository_support import KEY

from alexandria_backup.errors import SnapshotDamaged, WrongKey
from alexandria_backup.repository import (
    description,
    leases,
    ledger_entry,
    manifest,
    partials,
    results,
    tombstones,
    trust,
)
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.layout import Kind, parse
from alexandria_backup.repository.manifest_parts import Part
from alexandria_backup.sealing.signing import TrustedKey

FORMS: dict[str, Form[Any]] = {
    "description": description.FORM,
    "lease": leases._FORM,
    "ledger entry": ledger_entry.FORM,
    "manifest": manifest._FORM,
    "partial": partials._FORM,
    "pin": trust._FORM,
    "result": results._FORM,
    "tombstone": tombstones.FORM,
}


def _golden() -> dict[str, bytes]:
    store = load()
    found = {parse(info.name).kind.value: store.get(info.name) for info in store.list()}
    return {kind: data for kind, data in found.items() if kind != Kind.OBJECT}


#: A good document of each kind that the golden repository has.
GOLDEN = _golden()

pieces = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"null", b"-1", b"1e999", b"\n\n", b"9" * 400,
                     b"\xe2\x80\x94 ", b"\\ud800", b"true", b"[" * 5000]),
)  # fmt: skip
changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 40), pieces), max_size=4)
Changes = list[tuple[int, int, bytes]]


def mutated(data: bytes, changes: Changes) -> bytes:
    for place, length, piece in changes:
        at = place % (len(data) + 1)
        data = data[:at] + piece + data[at + length :]
    return data


def refused_or_read(form: Form[Any], data: bytes, trusted: Sequence[TrustedKey]) -> None:
    opened = None
    message = ""
    try:
        opened = form.decode(data, trusted)
    except form.invalid as error:
        message = error.message
    except WrongKey as error:
        message = error.message
    if opened is None:
        # A terminal must not be shown what a stranger has written.
        assert message.isprintable()
        assert 0 < len(message) < 600
        return
    assert isinstance(opened.document, Part)
    again = form.decode(form.encode(opened.document, KEY), (KEY.trusted,))
    assert again.document == opened.document


@pytest.mark.parametrize("trusted", [(), (KEY.trusted,)], ids=["unsigned", "signed"])
@pytest.mark.parametrize("role", FORMS)
@given(data=st.binary(max_size=200))
@settings(max_examples=50)
def test_any_bytes(role: str, trusted: tuple[TrustedKey, ...], data: bytes) -> None:
    refused_or_read(FORMS[role], data, trusted)


def each_golden(test: Callable[..., None]) -> Callable[..., None]:
    signed = pytest.mark.parametrize("trusted", [(), (KEY.trusted,)], ids=["unsigned", "signed"])
    kinds = [kind for kind in GOLDEN if kind in FORMS]
    return pytest.mark.parametrize("role", kinds)(signed(test))


@each_golden
@given(changes=changes)
@settings(max_examples=100)
def test_a_changed_document(role: str, trusted: tuple[TrustedKey, ...], changes: Changes) -> None:
    refused_or_read(FORMS[role], mutated(GOLDEN[role], changes), trusted)


@pytest.mark.campaign
@each_golden
@given(changes=changes)
@settings(max_examples=5_000, deadline=None)
def test_many_changed_documents(
    role: str, trusted: tuple[TrustedKey, ...], changes: Changes
) -> None:
    refused_or_read(FORMS[role], mutated(GOLDEN[role], changes), trusted)


@given(changes=changes)
@settings(max_examples=60)
def test_a_signature_covers_every_byte(changes: Changes) -> None:
    """Whoever changes a signed document is found out, or has changed nothing that counts."""
    original = GOLDEN["manifest"]
    before = manifest.decode(original, (KEY.trusted,)).manifest
    try:
        after = manifest.decode(mutated(original, changes), (KEY.trusted,))
    except (SnapshotDamaged, WrongKey):
        return
    assert after.manifest == before


def test_the_golden_repository_has_one_of_each_kind_that_lasts() -> None:
    assert {"description", "ledger entry", "manifest", "partial", "result"} <= GOLDEN.keys()
    for role, data in GOLDEN.items():
        if role in FORMS:
            assert FORMS[role].decode(data, (KEY.trusted,)).signers == (KEY.name,)


def test_nothing_larger_than_it_can_be_is_parsed() -> None:
    for form in FORMS.values():
        with pytest.raises(form.invalid, match="too many to be one"):
            form.decode(b" " * (form.largest + 1), ())
