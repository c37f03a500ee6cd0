"""The audit chain's settings: recipes, keys with windows, the one source of a key."""

from pathlib import Path
from typing import Final

import pytest

from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.recipe_choices import Previous
from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.settings.audit import AuditSettings
from alexandria_backup.settings.loading import load

RECIPE: Final = """
[audit]
recipe = "mine"
[audit.columns]
principal = "actor"
[audit.recipes.mine]
fields = ["id", "principal"]
encoding = "delimited:|"
previous = "text-last"
genesis = "text:START"
"""
RING: Final = """
[[audit.keys]]
name = "old"
file = "keys/old.key"
encoding = "hex"
until = 2026-01-01T00:00:00Z
[[audit.keys]]
name = "new"
file = "keys/new.key"
since = 2026-01-01T00:00:00Z
"""


def loaded(folder: Path, text: str, **environ: str) -> AuditSettings:
    path = folder / "alexandria.toml"
    path.write_text(text, encoding="utf-8")
    environ = {"HOME": str(folder), **environ}
    return load(config=path, environ=environ, cwd=folder).settings.audit


def key_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, RECIPE).chosen_recipe()
    assert (recipe.name, recipe.previous) == ("mine", Previous.TEXT_LAST)
    assert recipe.columns == {"principal": "actor"}
    assert recipe.begins(b"START")
    assert loaded(tmp_path, "").chosen_recipe() is ALEXANDRIA_V1
    with pytest.raises(SettingsInvalid, match="covers no fields"):
        loaded(tmp_path, RECIPE.replace('["id", "principal"]', "[]")).chosen_recipe()
    with pytest.raises(SettingsInvalid, match=r"audit\.recipes\.mine\.colour"):
        loaded(tmp_path, f"{RECIPE}\ncolour = 'red'")


def test_keys_lie_beside_the_file_and_have_windows(tmp_path: Path) -> None:
    key_file(tmp_path / "keys" / "old.key", bytes(16).hex().encode())
    key_file(tmp_path / "keys" / "new.key", bytes(range(32)))
    ring = loaded(tmp_path, RING).loaded_key()
    assert isinstance(ring, KeyRing)
    old, new = ring.keys
    assert (old.name, old.since, old.until) == ("old", None, 1_767_225_600_000_000)
    assert (new.name, new.since, new.until) == ("new", 1_767_225_600_000_000, None)
    assert old.reveal() == (("hex", bytes(16)),)


def test_a_window_has_an_order(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="`since` must be before `until`"):
        loaded(tmp_path, RING.replace("until = 2026", "since = 2027-01-01T00:00:00Z\nuntil = 2026"))


def test_a_key_comes_from_one_place_and_never_from_the_file(tmp_path: Path) -> None:
    given = loaded(tmp_path, "", ALEXANDRIA_AUDIT__KEY=bytes(range(32)).hex()).loaded_key()
    assert isinstance(given, AuditKey)
    assert given.reveal()[0] == ("hex", bytes(range(32)))
    assert "ALEXANDRIA_AUDIT__KEY" in given.source
    with pytest.raises(SettingsInvalid, match="set one of"):
        loaded(tmp_path, '[audit]\nkey_file = "x"', ALEXANDRIA_AUDIT__KEY="00" * 16)
    with pytest.raises(SettingsInvalid, match=r"`audit\.key` does not belong into") as caught:
        loaded(tmp_path, '[audit]\nkey = "0123456789abcdef"')
    assert "0123456789abcdef" not in str(caught.value)
    assert loaded(tmp_path, "").loaded_key() is None


def test_tables_can_be_given_as_json_in_a_variable(tmp_path: Path) -> None:
    text = '{"v": {"fields": ["id"], "encoding": "jcs"}}'
    found = loaded(tmp_path, '[audit]\nrecipe = "v"', ALEXANDRIA_AUDIT__RECIPES=text)
    assert found.chosen_recipe().encoding == "jcs"
    with pytest.raises(SettingsInvalid, match="ALEXANDRIA_AUDIT__KEYS` is wrong: it is not JSON"):
        loaded(tmp_path, "", ALEXANDRIA_AUDIT__KEYS="[")
