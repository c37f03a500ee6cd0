import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alexandria_backup import events
from alexandria_backup.events import Event, Note, Warned, discard

ALL = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


def made(kind: type[Event]) -> Event:
    """Return an event of this kind with `x` in every field."""
    values: dict[str, Any] = {f.name: "x" for f in dataclasses.fields(kind) if f.name != "at"}
    return kind(**values)


@pytest.mark.parametrize("kind", ALL)
def test_an_event_is_a_value_with_a_time_in_utc(kind: type[Event]) -> None:
    before = datetime.now(UTC)
    event = made(kind)
    assert before <= event.at <= datetime.now(UTC)
    assert event.at.utcoffset() == timedelta(0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = before  # type: ignore[misc]  # what must fail
    assert dataclasses.replace(event) == event


@pytest.mark.parametrize("kind", ALL)
def test_fields_are_named_where_an_event_is_made(kind: type[Event]) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind("x")  # type: ignore[call-arg, arg-type]  # what must fail


def test_a_warning_is_no_note() -> None:
    # Whoever counts warnings for the exit code asks for the type.
    assert not issubclass(Note, Warned)
    assert not issubclass(Warned, Note)
    assert Warned(message="look").hint is None


def test_nobody_hears_what_is_discarded(capfd: pytest.CaptureFixture[str]) -> None:
    discard(Warned(message="look"))
    assert capfd.readouterr() == ("", "")
