import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from alexandria_backup import errors
from alexandria_backup.errors import AlexandriaError, ExitCode, StatementFailed

SOURCE = Path(errors.__file__).parent

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AlexandriaError)
]
NAMES = {kind.__name__ for kind in ALL}

#: Scripts depend on these: a number is never given another meaning.
EXIT_CODES = {
    "DONE": 0,
    "FAILED": 1,
    "USAGE": 2,
    "DONE_WITH_WARNINGS": 3,
    "CREDENTIALS_NOT_FOUND": 10,
    "DATABASE_UNREACHABLE": 11,
    "PRECHECK_REFUSED": 12,
    "SNAPSHOT_DAMAGED": 20,
    "WRONG_KEY": 21,
    "LOCKED": 22,
    "DRILL_INCONCLUSIVE": 23,
    "AUDIT_BROKEN": 30,
    "AUDIT_UNVERIFIED": 31,
    "RESTORE_UNDONE": 40,
    "RESTORE_STOPPED": 41,
    "APPLICATION_NOT_READY": 42,
    "PLATFORM_REFUSED": 43,
    "INTERRUPTED": 130,
}


class TestExitCodes:
    def test_they_keep_their_numbers(self) -> None:
        assert {code.name: code.value for code in ExitCode} == EXIT_CODES

    def test_each_has_a_meaning_of_its_own(self) -> None:
        assert len(set(ExitCode.__members__.values())) == len(ExitCode.__members__)

    def test_each_failure_has_an_error_that_leads_to_it(self) -> None:
        owned = {kind.exit_code for kind in ALL}
        assert owned == set(ExitCode) - {ExitCode.DONE, ExitCode.DONE_WITH_WARNINGS}


class TestTree:
    def test_the_drawing_is_the_tree(self) -> None:
        assert list(drawn(errors.__doc__ or "")) == list(real(AlexandriaError, None))

    @pytest.mark.parametrize("kind", ALL)
    def test_each_has_a_code_and_a_meaning_of_its_own(self, kind: type[AlexandriaError]) -> None:
        assert [other for other in ALL if other.code == kind.code] == [kind]
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.code)
        assert [other for other in ALL if other.__doc__ == kind.__doc__] == [kind]

    def test_no_other_room_has_errors_of_its_own(self) -> None:
        elsewhere = [
            f"{path.relative_to(SOURCE)}: {node.name}"
            for path, tree in modules()
            if path.name != "errors.py"
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & NAMES
        ]
        assert elsewhere == []


def drawn(docstring: str) -> Iterator[tuple[str, str | None, int]]:
    """Read the drawing: name, parent's name and exit code of each line, from the top."""
    path: list[str] = []
    for line in docstring.splitlines():
        match = re.fullmatch(r" {4}((?:[│├└─ ]{4})*)(\w+) +(\d+)", line)
        if match:
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            yield match[2], path[depth - 1] if depth else None, int(match[3])


def real(kind: type[AlexandriaError], parent: str | None) -> Iterator[tuple[str, str | None, int]]:
    yield kind.__name__, parent, kind.exit_code.value
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from real(child, kind.__name__)


Error = TypeVar("Error", bound=AlexandriaError)


def again(error: Error) -> Error:
    """Return what the parent of a worker process gets."""
    copied: Error = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    return copied


class TestValues:
    @pytest.mark.parametrize("kind", ALL)
    def test_it_says_its_message(self, kind: type[AlexandriaError]) -> None:
        error = kind("`x` failed", hint="do y")
        assert (str(error), error.message, error.hint) == ("`x` failed", "`x` failed", "do y")
        assert kind("`x` failed").hint == kind.usual_hint

    @pytest.mark.parametrize("kind", ALL)
    def test_it_comes_whole_out_of_another_process(self, kind: type[AlexandriaError]) -> None:
        error = again(kind("`x` failed", hint="do y"))
        assert type(error) is kind
        assert (str(error), error.hint) == ("`x` failed", "do y")

    def test_a_failed_statement_carries_what_the_server_called_it(self) -> None:
        assert again(StatementFailed("`x` failed", sqlstate="23505")).sqlstate == "23505"
        assert StatementFailed("`x` failed").sqlstate is None


class TestMessages:
    """House style of every message that is written in the source."""

    def test_they_begin_in_lower_case_and_have_no_full_stop(self) -> None:
        found = list(messages())
        assert len(found) > 100
        assert [f"{where}: {text}" for where, text in found if not is_in_style(text)] == []

    def test_the_check_itself_finds_mistakes(self) -> None:
        assert is_in_style("the disk is full")
        assert is_in_style("`x` is no DSN")
        assert not is_in_style("The disk is full")
        assert not is_in_style("the disk is full.")
        assert not is_in_style("")


def messages() -> Iterator[tuple[str, str]]:
    """Give place and text of all messages; what is filled in at run time is shown as `…`."""
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in NAMES and node.args:
                text = written(node.args[0])
                if text is not None:
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", text


def written(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    return None


def is_in_style(text: str) -> bool:
    first = text.split(" ", maxsplit=1)[0].strip("`")
    is_name = first.isupper() or first.startswith(("PostgreSQL", "Ed25519", "PEM", "Vault"))
    begins_well = bool(text) and (not text[0].isupper() or is_name)
    return begins_well and not text.endswith((".", "!", "\n"))


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))
