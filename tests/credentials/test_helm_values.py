from pathlib import Path

import pytest
from import_blocker_support import without

from alexandria_backup.credentials.helm_values import HelmVault, read_helm_values
from alexandria_backup.errors import SettingsInvalid


def read(tmp_path: Path, text: str) -> HelmVault:
    (tmp_path / "values.yaml").write_text(text)
    return read_helm_values(tmp_path / "values.yaml")


def test_the_section_of_vault_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, "image: x\nvault:\n  enabled: true\n  prefix: a/b/\n  mount: kv\n")
    assert found == HelmVault(enabled=True, prefix="a/b/", mount="kv")


@pytest.mark.parametrize("text", ["", "image: x", "vault:", "- a list", "vault: {}"])
def test_values_that_say_nothing_of_vault(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == HelmVault()


@pytest.mark.parametrize(
    "text",
    [
        "vault: {enabled: 'yes'}",
        "vault: {prefix: 7}",
        "{",
        "a: &a [*a",
        "\t- x",
        "vault: !!python/x",
    ],
)
def test_values_that_mean_nothing_are_refused_without_quoting_them(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read(tmp_path, text + "\n# swordfish")
    assert "swordfish" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        read_helm_values(tmp_path / "none.yaml")


def test_without_a_library_for_yaml_it_says_what_to_install(tmp_path: Path) -> None:
    with without("yaml"), pytest.raises(SettingsInvalid, match="needs PyYAML") as caught:
        read(tmp_path, "vault: {enabled: true}")
    assert caught.value.hint == "pip install 'alexandria-backup[vault]'"
