"""Every choice of a recipe: what is sealed, byte for byte, and how it stands in the columns."""

import hmac
import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.audit.jcs import jcs, parsed
from alexandria_backup.audit.output import Output
from alexandria_backup.audit.recipe import ALEXANDRIA_V1, Recipe, Role
from alexandria_backup.audit.recipe_choices import Genesis, Previous
from alexandria_backup.audit.timestamps import FORMS, in_form, microseconds
from alexandria_backup.errors import SettingsInvalid

KEY = bytes(range(32))
BEFORE = bytes.fromhex("ab" * 32)
NOON = b"1795435200000000"


def recipe(**choices: object) -> Recipe:
    given: dict[str, object] = {"name": "mine", "fields": (Role.ID, Role.ACTION), **choices}
    return Recipe(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choices", "first", "second"),
    [
        ({"encoding": "delimited:|", "previous": Previous.TEXT_LAST}, b"1|login", b"ab" * 32),
        ({"encoding": "delimited:, ", "previous": Previous.RAW_LAST}, b"1, login", BEFORE),
    ],
)
def test_a_delimiter_stands_between_values(
    choices: dict[str, object], first: bytes, second: bytes
) -> None:
    made = recipe(**choices)
    assert made.message([b"1", b"login"], BEFORE) == first + second


def test_null_between_delimiters_is_what_the_recipe_says() -> None:
    made = recipe(encoding="delimited:|", null="NULL")
    assert made.message([b"1", None], BEFORE) == b"1|NULL" + BEFORE


def test_the_previous_hmac_may_come_first_or_be_a_field() -> None:
    first = recipe(encoding="delimited:|", previous=Previous.TEXT_FIRST)
    assert first.message([b"1", b"x"], BEFORE) == b"ab" * 32 + b"1|x"
    fields = (Role.ID, Role.PREV_HMAC, Role.ACTION)
    among = recipe(encoding="delimited:|", previous=Previous.FIELD, fields=fields)
    assert among.message([b"1", b"ab" * 32, b"x"], BEFORE) == b"1|" + b"ab" * 32 + b"|x"
    assert among.message([b"1", None, b"x"], None) == b"1|" + b"0" * 64 + b"|x"


def test_sorted_json_holds_what_metadata_mean() -> None:
    made = recipe(
        encoding="json-sorted",
        fields=(Role.ID, Role.METADATA, Role.AGENT),
        parse=frozenset({Role.METADATA}),
        previous=Previous.TEXT_LAST,
    )
    message = made.message([b"1", b'{"b": 1,  "a": "\xc3\xa9"}', None], BEFORE)
    assert message == ('{"agent":null,"id":"1","metadata":{"a":"é","b":1}}'.encode() + b"ab" * 32)
    with pytest.raises(ValueError, match="Expecting"):
        made.message([b"1", b"{no json", None], BEFORE)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # From RFC 8785, 3.2.3 and appendix B.
        ('{"\\u20ac": "Euro Sign", "\\r": "CR", "1": "One", "\\u0080": "C"}',
         '{"\\r":"CR","1":"One","\x80":"C","€":"Euro Sign"}'),
        ('{"\\ud83d\\ude00": 1, "\\ufb33": 2}', '{"\U0001f600":1,"\ufb33":2}'),
        ("[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]",
         "[333333333.3333333,1e+30,4.5,0.002,1e-27]"),
        ("[-0, 1e21, 123456789012345680000, 1.0, 1e-6, 1e-7, 9007199254740993]",
         "[0,1e+21,123456789012345680000,1,0.000001,1e-7,9007199254740992]"),
        ('["\\u000f\\n\\"\\\\/<", null, true, false]', '["\\u000f\\n\\"\\\\/<",null,true,false]'),
    ],
)  # fmt: skip
def test_jcs_is_that_of_the_rfc(text: str, canonical: str) -> None:
    assert jcs(parsed(text.encode())).decode() == canonical


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[Infinity]", "[" * 100_000, "1e999"])
def test_what_json_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        jcs(parsed(text.encode()))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_of_jcs_mean_what_they_meant(number: float) -> None:
    assert float(jcs(number)) == number


@pytest.mark.parametrize(
    ("form", "noon", "fraction"),
    [
        ("epoch-microseconds", "1795435200000000", "1795435200120000"),
        ("epoch-milliseconds", "1795435200000", "1795435200120"),
        ("epoch-seconds", "1795435200", "1795435200"),
        ("iso8601-microseconds", "2026-11-23T12:00:00.000000Z", "2026-11-23T12:00:00.120000Z"),
        ("iso8601-milliseconds", "2026-11-23T12:00:00.000Z", "2026-11-23T12:00:00.120Z"),
        ("rfc3339", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.12Z"),
        ("python-isoformat", "2026-11-23T12:00:00+00:00", "2026-11-23T12:00:00.120000+00:00"),
        ("postgres", "2026-11-23 12:00:00+00", "2026-11-23 12:00:00.12+00"),
    ],
)
def test_timestamps_have_many_forms(form: str, noon: str, fraction: str) -> None:
    assert in_form(form, NOON).decode() == noon
    assert in_form(form, b"1795435200120000").decode() == fraction
    assert in_form(form, b"infinity") == b"infinity"
    assert form in FORMS


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_a_form_leads_back_to_the_same_instant(at: int) -> None:
    assert microseconds(in_form("postgres", str(at).encode())) == str(at).encode()


@pytest.mark.parametrize("output", list(Output))
def test_an_hmac_is_read_as_it_is_written_and_in_no_other_way(output: Output) -> None:
    text = output.write(BEFORE)
    assert output.read(text) == BEFORE
    for other in (text + b" ", text.swapcase() + b"=", b"\xff", text[:-1], b"'" + text[1:]):
        assert output.read(other) is None


def test_the_genesis_is_zeros_nothing_or_a_text() -> None:
    zeros = recipe()
    assert zeros.begins(None)
    assert zeros.begins(b"0" * 64)
    assert not zeros.begins(b"")
    nothing = recipe(start=Genesis.NOTHING)
    assert (nothing.begins(None), nothing.begins(b""), nothing.begins(b"0" * 64)) == (
        True, True, False,
    )  # fmt: skip
    assert nothing.message([b"1", b"x"], None) == zeros.message([b"1", b"x"], None)[:-32]
    word = recipe(start="text:GENESIS", encoding="delimited:|", previous=Previous.TEXT_LAST)
    assert word.begins(b"GENESIS")
    assert not word.begins(None)
    assert word.first_previous == "GENESIS"
    assert word.message([b"1", b"x"], None) == b"1|xGENESIS"


def test_any_recipe_is_hmac_sha256() -> None:
    made = recipe(encoding="jcs", domain=b"d\n", previous=Previous.TEXT_FIRST)
    message = (
        b"d\n" + b"ab" * 32 + json.dumps({"action": "x", "id": "1"}, separators=(",", ":")).encode()
    )
    assert made.compute(KEY, [b"1", b"x"], BEFORE) == hmac.digest(KEY, message, sha256)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"fields": ()}, "covers no fields"),
        ({"fields": ("id", "id")}, "names `id` twice"),
        ({"fields": ("id", "hmac")}, "covers `hmac`"),
        ({"encoding": "xml"}, "encoding `xml`"),
        ({"encoding": "delimited:"}, "encoding `delimited:`"),
        ({"timestamps": "fortnights"}, "`fortnights`"),
        ({"previous": Previous.FIELD}, "`prev_hmac` among its fields"),
        ({"start": "ones"}, "starts with `ones`"),
        ({"parse": frozenset({"metadata"})}, "parses `metadata`"),
    ],
)
def test_a_recipe_that_cannot_be_says_why(choices: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said.replace("|", r"\|")):
        recipe(**choices)


def test_only_the_plain_recipe_takes_the_fast_way() -> None:
    assert ALEXANDRIA_V1.plain
    for changed in (
        replace(ALEXANDRIA_V1, encoding="delimited:|"),
        replace(ALEXANDRIA_V1, timestamps="rfc3339"),
        replace(ALEXANDRIA_V1, previous=Previous.RAW_FIRST),
    ):
        assert not changed.plain
