"""The documentation keeps up with the program: it is current, commands parse, links lead."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from command_line_support import parse
from typer.exceptions import TyperException

from alexandria_backup.audit.recipe import ALEXANDRIA_V1, BUILT_IN
from alexandria_backup.cli.main import application
from alexandria_backup.errors import ExitCode
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.runbooks.transition import Phase, Transition
from alexandria_backup.settings.description import describe
from alexandria_backup.settings.files import CONFIG_VARIABLE
from alexandria_backup.settings.model import PREFIX

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
#: Everything that a person reads.
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = _generate()


def _label(page: Path) -> str:
    return str(page.relative_to(ROOT))


# -- the reference -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(GENERATE.pages()))
def test_the_reference_is_what_the_code_says_now(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == GENERATE.pages()[name], "hint: make docs"


def test_every_command_and_option_is_in_the_reference() -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    found = dict(_all_commands(typer.main.get_command(application()), "alexandria"))
    assert len(found) > 10
    for name, parameters in found.items():
        for parameter in parameters:
            assert f"`{parameter}" in sections[name], f"`{parameter}` of `{name}`; hint: make docs"


def _all_commands(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    below = getattr(command, "commands", {})
    if not below or command.invoke_without_command:
        yield name, [p.opts[0] for p in command.params]
    for word, child in below.items():
        yield from _all_commands(child, f"{name} {word}")


def test_every_setting_is_in_the_reference_with_its_variable_and_a_meaning() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    settings = describe()
    assert len(settings) > 20
    for setting in settings:
        assert f"### `{setting.key}`" in text, "hint: make docs"
        assert f"- variable: `{setting.variable}`" in text, "hint: make docs"
        assert len(setting.description) > 10, f"`{setting.key}` needs a description"


@pytest.mark.parametrize("page", ["reference/exit-codes.md", "exit-codes.md"])
def test_every_exit_code_is_explained(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for code in ExitCode:
        row = re.search(rf"^\| `?{int(code)}`? \|(.+)\|$", text, re.MULTILINE)
        assert row is not None, f"{int(code)} is missing in {page}"
        assert len(row[1].strip()) > 10


def test_every_error_and_event_is_in_the_reference_with_a_meaning() -> None:
    errors = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    for error in GENERATE.error_classes():
        assert f"{error.__name__}` | `{error.code}` | {int(error.exit_code)} |" in errors
        assert error.__doc__, f"`{error.__name__}` needs a docstring"
    events = (REFERENCE / "events.md").read_text(encoding="utf-8")
    assert len(GENERATE.event_classes()) > 5
    for event in GENERATE.event_classes():
        section = events.split(f"## `{GENERATE.event_name(event)}`")[1].split("\n## ")[0]
        for field in fields(event):
            assert f"| `{field.name}` |" in section


# -- what a person types -----------------------------------------------------------------------


def _command_lines() -> list[tuple[Path, int, str]]:
    """Every `alexandria …` in a code block or between backticks, with page and line."""
    found = []
    for page in PAGES:
        fenced = False
        continued = ""
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            if line.lstrip().startswith("```"):
                fenced = not fenced
                continue
            if not fenced:
                found += [
                    (page, number, text)
                    for text in re.findall(r"`((?:alexandria|alex|alex-cli)(?: [^`]*)?)`", line)
                ]
                continue
            text = continued + line.strip().removeprefix("$ ")
            continued = text.removesuffix("\\") if text.endswith("\\") else ""
            match = re.match(
                r"(?:\w+=\S+ )*(?:hint: )?(?:\S*/)?(?=(?:alexandria|alex|alex-cli)(?: |$))"
                r"(.*)",
                text,
            )
            if match and not continued:
                found.append((page, number, match[1]))
    return found


COMMAND_LINES = [
    (page, number, line) for page, number, line in _command_lines() if page.name != "commands.md"
]


@pytest.mark.parametrize(
    ("page", "number", "line"),
    COMMAND_LINES,
    ids=[f"{_label(page)}:{number}" for page, number, _ in COMMAND_LINES],
)
def test_a_command_in_the_documentation_is_one(page: Path, number: int, line: str) -> None:
    words = _words(line)
    try:
        parse(words)
    except TyperException as error:
        pytest.fail(f"{_label(page)}:{number}: `{line}`: {error}")


def test_commands_were_found_and_wrong_ones_would_be_refused() -> None:
    assert len(COMMAND_LINES) > 40
    for wrong in ("alexandria restor latest", "alexandria restore", "alexandria doctor --force"):
        with pytest.raises(TyperException):
            parse(_words(wrong))


def _words(line: str) -> list[str]:
    """Return the arguments of a command line, without what the shell does with the output."""
    words = []
    for word in shlex.split(line.replace("…", "..."), comments=True)[1:]:
        if word in {"|", "||", "&", "&&", ";"} or re.match(r"\d?>", word):
            break
        words.append(word.removesuffix(";"))
    return words


def test_variables_in_the_documentation_exist() -> None:
    known = {setting.variable for setting in describe()} | {CONFIG_VARIABLE}
    for page in PAGES:
        for variable in re.findall(rf"\b{PREFIX}[A-Z_]+\b", page.read_text(encoding="utf-8")):
            # `ALEXANDRIA_*` and `ALEXANDRIA_AUDIT__*` name groups.
            assert variable in known or variable.endswith("_"), f"{_label(page)}: {variable}"


def test_settings_in_the_documentation_exist() -> None:
    known = {setting.key for setting in describe()}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for section, key in re.findall(r"`\[(\w+)\] (\w+)`", text):
            assert f"{section}.{key}" in known, f"{_label(page)}: [{section}] {key}"


def test_the_two_commands_of_the_readme_are_targets() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert re.search(rf"^make {target}\b", readme, re.MULTILINE)
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for page in PAGES:
        for target in re.findall(r"`make (\w+)", page.read_text(encoding="utf-8")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{_label(page)}: {target}"


# -- links -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_label)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{_label(page)}: {link}"
        if anchor:
            assert anchor in _anchors(target), f"{_label(page)}: {link}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)[^)]*\)", page.read_text(encoding="utf-8"))
        here = [link for link in links if not re.match(r"[a-z]+:", link)]
        waiting += [(page.parent / link).resolve() for link in here]
    assert {_label(page) for page in DOCS.rglob("*.md")} <= {_label(page) for page in seen}


# -- formats that are written down by hand -----------------------------------------------------


def test_the_example_of_the_recipe_is_what_the_recipe_computes() -> None:
    text = (REFERENCE / "audit-recipe.md").read_text(encoding="utf-8")
    key = bytes.fromhex(re.findall(r"key +([0-9a-f]{64})", text)[0])
    message = bytes.fromhex(
        re.sub(r"\s+", "", re.findall(r"```text message\n([0-9a-f\s]+)```", text)[0])
    )
    digest = re.findall(r"HMAC +([0-9a-f]{64})", text)[0]
    values = [
        b"01KAFQ5N00000000000000000A", b"alice@example.org", b"login", None, None,
        b'{"ip": "192.0.2.1"}', None, b"1795435200000000",
    ]  # fmt: skip
    assert ALEXANDRIA_V1.message(values, ALEXANDRIA_V1.genesis) == message
    assert ALEXANDRIA_V1.write(ALEXANDRIA_V1.compute(key, values, ALEXANDRIA_V1.genesis)) == digest
    assert all(f"`{role}`" in text for role in ALEXANDRIA_V1.fields)
    assert all(f"`{name}`" in text for name in BUILT_IN)


def test_the_manifest_page_names_every_field() -> None:
    text = (DOCS / "what-a-manifest-reveals.md").read_text(encoding="utf-8")
    for name in Manifest.model_fields:
        assert f"`{name}`" in text, name


def test_the_journal_is_described() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for name in Transition.model_fields:
        assert f"`{name}`" in text, name
    for phase in Phase:
        assert f"`{phase.value}`" in text, phase
