from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from alexandria_backup.credentials.local import EnvironmentSource
from alexandria_backup.credentials.source import DsnSource, find_dsn
from alexandria_backup.errors import CredentialsNotFound, DsnInvalid, ExitCode
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
