"""Names and texts come back from the server as they were given."""

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexandria_backup.errors import UsageError
from alexandria_backup.postgres.embedded import EmbeddedServer
from alexandria_backup.postgres.identifiers import (
    fit_name,
    fits,
    quote_identifier,
    quote_literal,
    quote_qualified,
)

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_what_is_quoted_comes_back(server_any: EmbeddedServer, conforming: str) -> None:
    with psycopg.connect(server_any.conninfo().reveal()) as connection:
        connection.execute("set backslash_quote = off")
        connection.execute("set escape_string_warning = off")
        connection.execute(f"set standard_conforming_strings = {conforming}".encode())

        @settings(max_examples=60, deadline=None)
        @given(text=TEXTS, name=TEXTS.filter(lambda name: name and fits(name)))
        def check(text: str, name: str) -> None:
            cursor = connection.execute(
                f"select {quote_literal(text)} as {quote_identifier(name)}".encode()
            )
            assert cursor.fetchone() == (text,)
            assert cursor.description is not None
            assert cursor.description[0].name == name

        check()


def test_qualified() -> None:
    assert quote_qualified('a"b', "Tab le") == '"a""b"."Tab le"'


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_impossible_names(name: str) -> None:
    with pytest.raises(UsageError):
        quote_identifier(name)


def test_impossible_text() -> None:
    with pytest.raises(UsageError):
        quote_literal("a\0b")


@settings(max_examples=200)
@given(base=TEXTS.filter(bool), other=TEXTS.filter(bool))
def test_fitted_names_fit_and_stay_apart(base: str, other: str) -> None:
    name = fit_name(base, "_alexandria_shadow")
    assert fits(name)
    assert name.endswith("_alexandria_shadow")
    if base != other:
        assert name != fit_name(other, "_alexandria_shadow")


def test_long_names_with_the_same_beginning() -> None:
    one, two = ("ü" * 31 + end for end in "12")
    assert fits(one)
    assert fit_name(one, "_shadow") != fit_name(two, "_shadow")
    assert fit_name("short", "_shadow") == "short_shadow"
    with pytest.raises(UsageError):
        fit_name("x" * 63, "y" * 63)
