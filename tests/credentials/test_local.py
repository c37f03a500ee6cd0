import os
import shlex
from pathlib import Path

import pytest

from alexandria_backup.credentials.local import FileSource
from alexandria_backup.errors import CredentialsNotFound
from alexandria_backup.events import Event, Warned, discard

DSN = "postgresql://u:hunter2@h/d"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dsn"
    path.touch(mode=0o600)
    path.write_text(DSN)
    return path


def source(path: Path | None) -> FileSource:
    return FileSource(given_as="--dsn-file", path=path, emit=discard)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", " \n\n"])
def test_white_space_around_the_dsn_does_not_count(file: Path, ending: str) -> None:
    file.write_text(DSN + ending)
    assert source(file).find().reveal() == DSN


def test_a_byte_order_mark_does_not_count(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + DSN.encode())
    assert source(file).find().reveal() == DSN


def test_a_dsn_may_come_through_a_pipe() -> None:
    # As of `--dsn-file <(vault read …)` in a shell.
    reader, writer = os.pipe()
    try:
        os.write(writer, DSN.encode() + b"\n")
        os.close(writer)
        assert source(Path(f"/dev/fd/{reader}")).find().reveal() == DSN
    finally:
        os.close(reader)


def test_what_is_found_is_hidden(file: Path) -> None:
    found = source(file).find()
    assert "hunter2" not in f"{found} {found!r} {source(file)!r}"


def test_hints_can_be_typed_whatever_the_name(file: Path) -> None:
    odd = file.rename(file.with_name("my dsn; rm 'x' ü"))
    events: list[Event] = []
    odd.chmod(0o644)
    FileSource(given_as="--dsn-file", path=odd, emit=events.append).find()
    (warned,) = events
    assert isinstance(warned, Warned)
    assert shlex.split(warned.hint or "") == ["chmod", "600", str(odd)]
    odd.unlink()
    with pytest.raises(CredentialsNotFound) as caught:
        source(odd).find()
    assert shlex.split(caught.value.hint or "") == ["ls", "-l", str(odd)]


def test_without_a_path_it_is_not_configured() -> None:
    assert not source(None).configured()
    assert source(Path("/nowhere")).configured()


@pytest.mark.parametrize("data", [b"", b" \n", b"\xef\xbb\xbf\n", b"\xff\xfe", b"x" * 100_000])
def test_a_file_that_holds_no_dsn_is_named(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(CredentialsNotFound, match=str(file)):
        source(file).find()


def test_a_file_that_is_missing_or_a_folder_is_named(file: Path) -> None:
    for path in (file.with_name("other"), file.parent):
        with pytest.raises(CredentialsNotFound, match=str(path)) as caught:
            source(path).find()
        assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(file: Path) -> None:
    file.chmod(0)
    with pytest.raises(CredentialsNotFound, match="cannot be read"):
        source(file).find()


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)])
def test_who_else_can_read_the_file_is_warned_of(file: Path, mode: int, warned: int) -> None:
    file.chmod(mode)
    events: list[Event] = []
    FileSource(given_as="--dsn-file", path=file, emit=events.append).find()
    assert len(events) == warned
    for event in events:
        assert isinstance(event, Warned)
        assert str(file) in f"{event.message} {event.hint}"
        assert "hunter2" not in f"{event.message} {event.hint}"


@pytest.mark.parametrize("text", [DSN, "host=h user=u password=hunter2", "/etc/" + DSN])
def test_a_dsn_given_as_the_name_of_its_file_is_not_shown(text: str) -> None:
    place = source(Path(text))
    with pytest.raises(CredentialsNotFound) as caught:
        place.find()
    shown = f"{place.name} {caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert "hunter2" not in shown
