"""Vectors and live rows under a recipe: the bytes that are sealed, and whether they fit."""

from pathlib import Path
from typing import Any, Final

import pytest

from alexandria_backup.audit.key import AuditKey
from alexandria_backup.audit.recipe import ALEXANDRIA_V1, Recipe
from alexandria_backup.audit.vectors import read_vectors, try_row, try_vector
from alexandria_backup.errors import SettingsInvalid, UsageError
from alexandria_backup.settings.audit import recipe_of

KEY: Final = bytes(range(32))
#: `conftest.Chain`, which cannot be imported from here.
Chain = Any
VECTORS: Final = """
key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
[[rows]]
hmac = "fa6411550e4fd1808d878f4739c0caeff35875482897f60d004bed52d4f5c59a"
[rows.values]
id = "01KAFQ5N00000000000000000A"
principal = "alice@example.org"
action = "login"
metadata = '{"ip": "192.0.2.1"}'
created_at = 2026-11-23T12:00:00Z
"""


def test_the_example_of_the_reference_fits(tmp_path: Path) -> None:
    path = tmp_path / "v.toml"
    path.write_text(VECTORS, encoding="utf-8")
    read = read_vectors(path)
    tried = try_vector(read.rows[0], ALEXANDRIA_V1, read.key)
    assert tried.fits
    assert tried.message is not None
    assert bytes.fromhex(tried.message).startswith(b"alexandria-audit-v1\n")
    assert not try_vector(read.rows[0], ALEXANDRIA_V1, bytes(32)).fits
    assert try_vector(read.rows[0], ALEXANDRIA_V1, None).computed is None


def test_a_row_that_goes_on_names_the_one_before() -> None:
    row = {"values": {"id": "2"}, "previous": "ab" * 32}
    recipe = Recipe(name="mine", fields=("id",), encoding="delimited:|")
    assert try_vector(row, recipe, KEY).message == (b"2".hex() + "ab" * 32)
    assert try_vector({**row, "previous": "x"}, recipe, KEY).problem is not None


def test_a_live_row_is_shown_with_its_bytes(chain: Chain) -> None:
    key, table = AuditKey.of(KEY), chain.table()
    good = try_row(chain.session, table, ALEXANDRIA_V1, key, chain.ids[4])
    assert (good.id, good.fits) == (chain.ids[4], True)
    chain.sql("UPDATE public.audit_logs SET action = 'x' WHERE id = %s", chain.ids[4])
    bad = try_row(chain.session, table, ALEXANDRIA_V1, key, chain.ids[4])
    assert not bad.fits
    assert bad.computed != bad.stored
    assert try_row(chain.session, table, ALEXANDRIA_V1, None, chain.ids[4]).computed is None
    with pytest.raises(UsageError, match="no row `nobody`"):
        try_row(chain.session, table, ALEXANDRIA_V1, key, "nobody")


@pytest.mark.parametrize("text", ["", "rows = 1", "[[rows", "key = 'zz'\nrows = []", "rows = [1]"])
def test_what_is_no_file_of_vectors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "v.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="no test vectors"):
        read_vectors(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_vectors(tmp_path / "none.toml")


def test_what_is_no_vector() -> None:
    with pytest.raises(UsageError, match="no table `values`"):
        try_vector({"hmac": "x"}, ALEXANDRIA_V1, KEY)
    with pytest.raises(UsageError, match="covers no field `colour`"):
        try_vector({"values": {"colour": "red"}}, ALEXANDRIA_V1, KEY)


def test_a_recipe_in_a_file_says_what_is_wrong_with_it() -> None:
    made = recipe_of({"fields": ["id"], "output": "base64", "genesis": "nothing"}, "v")
    assert (made.name, made.begins(None), made.begins(b"0" * 64)) == ("v", True, False)
    for wrong in ({}, {"fields": ["id"], "colour": 1}, {"fields": ["id"], "output": "octal"}):
        with pytest.raises(SettingsInvalid, match="`recipe"):
            recipe_of(wrong, "v")
