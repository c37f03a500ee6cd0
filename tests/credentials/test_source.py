from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexandria_backup.credentials.local import EnvironmentSource, FileSource
from alexandria_backup.credentials.source import DsnSource, find_dsn
from alexandria_backup.errors import CredentialsNotFound, DsnInvalid, ExitCode
from alexandria_backup.events import discard
from alexandria_backup.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Place:
    """A source that holds a text, fails (None), or was not named by anybody."""

    name: str
    text: str | None = None
    is_configured: bool = True

    def configured(self) -> bool:
        return self.is_configured

    def find(self) -> Secret:
        if self.text is None:
            raise CredentialsNotFound(f"{self.name} is broken")
        return Secret(self.text)


def found(*sources: DsnSource) -> tuple[str, str]:
    result = find_dsn(sources)
    return result.dsn.database, result.source


def test_the_first_that_is_configured_is_used() -> None:
    absent = Place(name="one", is_configured=False)
    second = Place(name="two", text="postgresql://u@h/second")
    third = Place(name="three", text="postgresql://u@h/third")
    assert found(absent, second, third) == ("second", "two")


@pytest.mark.parametrize("text", [None, "", "   ", "postgresql://u:hunter2@h:port/d"])
def test_one_that_fails_never_falls_through(text: str | None) -> None:
    good = Place(name="two", text="postgresql://u@h/other")
    with pytest.raises(CredentialsNotFound, match="one") as caught:
        found(Place(name="one", text=text), good)
    assert "hunter2" not in str(caught.value)


def test_real_sources_in_the_order_of_the_design(tmp_path: Path) -> None:
    flag, configured = tmp_path / "flag", tmp_path / "configured"
    for file in (flag, configured):
        file.write_text(f"postgresql://u@h/{file.name}\n")
        file.chmod(0o600)

    def search(path: Path | None, value: Secret | None) -> tuple[str, str]:
        return found(
            FileSource(given_as="--dsn-file", path=path, emit=discard),
            EnvironmentSource(variable="ALEXANDRIA_DSN", value=value),
            FileSource(given_as="[database] dsn_file", path=configured, emit=discard),
        )

    variable = Secret("postgresql://u@h/variable")
    assert search(flag, variable) == ("flag", f"--dsn-file `{flag}`")
    assert search(None, variable) == ("variable", "the variable ALEXANDRIA_DSN")
    assert search(None, None) == ("configured", f"[database] dsn_file `{configured}`")
    flag.unlink()
    with pytest.raises(CredentialsNotFound, match="--dsn-file"):
        search(flag, variable)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_is_a_dsn_or_refused_without_being_shown(text: str) -> None:
    secret = f"hunter2{text}hunter2"
    try:
        found(Place(name="one", text=secret))
    except DsnInvalid as error:
        shown = f"{error} {error.hint} {error.__cause__}"
        assert "hunter2" not in shown


def test_what_is_no_dsn_names_the_place_and_nothing_of_the_text() -> None:
    with pytest.raises(DsnInvalid, match=r"^the vault: ") as caught:
        found(Place(name="the vault", text="password=hunter2 nonsense"))
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.exit_code is ExitCode.CREDENTIALS_NOT_FOUND


def test_where_none_is_configured_all_places_are_listed() -> None:
    absent: Sequence[DsnSource] = [
        Place(name="--dsn-file", is_configured=False),
        EnvironmentSource(variable="ALEXANDRIA_DSN", value=None),
    ]
    with pytest.raises(CredentialsNotFound) as caught:
        find_dsn(absent)
    assert "--dsn-file" in str(caught.value)
    assert "ALEXANDRIA_DSN" in str(caught.value)
    assert caught.value.hint


def test_a_variable_that_is_set_and_empty_is_a_mistake() -> None:
    with pytest.raises(CredentialsNotFound, match="ALEXANDRIA_DSN is set and empty"):
        found(EnvironmentSource(variable="ALEXANDRIA_DSN", value=Secret("")))
