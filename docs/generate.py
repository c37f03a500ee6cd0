"""Write the reference from the code: commands, settings, exit codes, errors and events.

`make docs` runs it. A test fails where a page is not what this would write now, so the reference
cannot fall behind the program.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

import typer

from alexandria_backup import errors, events
from alexandria_backup.cli.main import application
from alexandria_backup.errors import AlexandriaError, ExitCode
from alexandria_backup.events import Event
from alexandria_backup.settings.description import describe
from alexandria_backup.settings.files import CONFIG_VARIABLE

REFERENCE = Path(__file__).parent / "reference"
PROGRAM = "alexandria"
#: Options of the shell's completion: every program of this kind has them.
_NOT_OURS = {"--install-completion", "--show-completion"}
_GENERATED = "<!-- Written by docs/generate.py from the code. Change the code, then: make docs -->"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the program, as its help has it."""

    #: Such as `alexandria snapshot create`.
    name: str
    help: str
    arguments: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]

    @property
    def usage(self) -> str:
        """The line that shows how it is called."""
        words = [shown.partition(" ")[0].upper() for shown, _ in self.arguments]
        required = ["[required]" in said for _, said in self.arguments]
        placed = [
            word if needed else f"[{word}]" for word, needed in zip(words, required, strict=True)
        ]
        return " ".join((self.name, *placed, *(["[OPTIONS]"] if self.options else [])))


def commands() -> tuple[Command, ...]:
    """Return the program itself and every command that does something, in the order of the help."""
    return tuple(_commands(typer.main.get_command(application()), PROGRAM))


def error_classes() -> tuple[type[AlexandriaError], ...]:
    """Return every error of the tree, in the order in which they are written down."""
    return tuple(
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, AlexandriaError)
    )


def event_classes() -> tuple[type[Event], ...]:
    """Return every event but the root, in the order in which they are written down."""
    return tuple(
        found
        for found in vars(events).values()
        if isinstance(found, type) and issubclass(found, Event) and found is not Event
    )


def event_name(event: type[Event]) -> str:
    """Return the event's name as `--json` prints it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


def pages() -> Mapping[str, str]:
    """Return every page of the reference that is made of code, by file name."""
    return {
        "commands.md": _page(_commands_page()),
        "settings.md": _page(_settings_page()),
        "exit-codes.md": _page(_exit_codes_page()),
        "errors.md": _page(_errors_page()),
        "events.md": _page(_events_page()),
    }


def write() -> None:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


def _commands_page() -> Iterator[str]:
    yield "# Commands"
    yield from _prose(
        """`alex` and `alex-cli` are the same program. Results go to stdout, everything else to
        stderr. [Exit codes](exit-codes.md) are an API; so is what `--json` prints, see
        [events](events.md). The DSN, the repository and all else come from the
        [settings](settings.md)."""
    )
    for command in commands():
        yield ""
        yield f"## `{command.name}`"
        yield from _prose(command.help)
        yield ""
        yield "```text"
        yield command.usage if command.name != PROGRAM else f"{PROGRAM} [OPTIONS] COMMAND …"
        yield "```"
        if command.arguments or command.options:
            yield from _table(
                ("argument or option", "meaning"),
                [(f"`{shown}`", said) for shown, said in (*command.arguments, *command.options)],
            )


def _settings_page() -> Iterator[str]:
    yield "# Settings"
    yield from _prose(
        f"""Each setting can stand in `alexandria.toml` or in a variable; the variable wins. The
        file is the first of these that is named or exists: `--config FILE` (before the command, as
        in `alexandria --config FILE doctor`), `{CONFIG_VARIABLE}`, `./alexandria.toml`,
        `$XDG_CONFIG_HOME/alexandria/alexandria.toml` (usually below `~/.config`),
        `/etc/alexandria/backup.toml`. A relative path in the file is relative to the file. A key
        that does not exist is refused, and the nearest one is named."""
    )
    section = None
    for setting in describe():
        found, _, _ = setting.key.rpartition(".")
        if found != section:
            section = found
            yield ""
            yield f"## `[{section}]`" if section else "## At the top of the file"
        yield ""
        yield f"### `{setting.key}`"
        yield from _prose(setting.description)
        yield ""
        yield f"- variable: `{setting.variable}`"
        yield f"- default: `{setting.default}`" if setting.default else "- default: none"


def _exit_codes_page() -> Iterator[str]:
    meanings = doc_comments(ExitCode)
    yield "# Exit codes"
    yield from _prose(
        """Scripts may rely on them: they are never renumbered. What to do at each of them stands in
        [what an exit code asks of you](../exit-codes.md); the errors behind a code stand in
        [errors](errors.md)."""
    )
    yield from _table(
        ("code", "name", "meaning", "errors"),
        [
            (
                str(int(code)),
                f"`{code.name}`",
                meanings[code.name],
                ", ".join(f"`{e.code}`" for e in error_classes() if e.exit_code is code),
            )
            for code in ExitCode
        ],
    )


def _errors_page() -> Iterator[str]:
    yield "# Errors"
    yield from _prose(
        """An error is printed as `error:` and what happened to what, then `hint:` and what to type.
        With `--json` it is the last line: a document whose `event` is `error`, with `code`,
        `exit_code`, `message` and `hint`. Scripts compare `code`; messages may change."""
    )
    yield from _table(
        ("class", "code", "exit code", "meaning"),
        [
            (
                f"`{'· ' * (len(error.__mro__) - len(AlexandriaError.__mro__))}{error.__name__}`",
                f"`{error.code}`",
                str(int(error.exit_code)),
                _first_paragraph(error),
            )
            for error in error_classes()
        ],
    )
    yield from _prose("Each dot before a name stands for one level below the class above it.")


def _events_page() -> Iterator[str]:
    yield "# Events and `--json`"
    yield from _prose(
        """With `--json` a command prints one JSON document per line on stdout: an event each, then
        the result, as `{"event": "result", "result": …}`, and where the command failed the error,
        as `{"event": "error", …}` (see [errors](errors.md)). A check that fails, such as `doctor`
        or `audit verify`, prints both. Times are ISO 8601 in UTC, durations are seconds, sizes are
        bytes, secrets are `***`. Fields may be added; they are never renamed."""
    )
    for event in event_classes():
        meanings = {**doc_comments(Event), **doc_comments(event)}
        yield ""
        yield f"## `{event_name(event)}`"
        yield from _prose(_first_paragraph(event))
        yield from _table(
            ("field", "type", "meaning"),
            [
                (f"`{item.name}`", f"`{_type_name(item.type)}`", meanings.get(item.name, ""))
                for item in fields(event)
            ],
        )


def doc_comments(owner: type) -> dict[str, str]:
    """Return what the `#:` comments in a class say, by the attribute that follows them."""
    found: dict[str, str] = {}
    pending: list[str] = []
    for raw in inspect.getsource(owner).splitlines():
        line = raw.strip()
        if line.startswith("#:"):
            pending.append(line.removeprefix("#:").strip())
            continue
        attribute = re.match(r"(\w+)\s*[:=]", line)
        if attribute and pending:
            found[attribute[1]] = " ".join(pending)
        pending = []
    return found


def _commands(command: object, name: str) -> Iterator[Command]:
    below: Mapping[str, object] = getattr(command, "commands", {})
    # A group by itself mostly does nothing; the program's own options are worth a section.
    if not below or name == PROGRAM or getattr(command, "invoke_without_command", False):
        yield _command(command, name)
    for word, child in below.items():
        yield from _commands(child, f"{name} {word}")


def _command(command: object, name: str) -> Command:
    # Typer's own help: the types that it is made of are not public.
    context = command.context_class(command, info_name=name)  # type: ignore[attr-defined]
    arguments: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    for parameter in command.params:  # type: ignore[attr-defined]
        record = parameter.get_help_record(context)
        if record is None or record[0].partition(" ")[0] in _NOT_OURS:
            continue
        (arguments if parameter.param_type_name == "argument" else options).append(record)
    return Command(
        name=name,
        help=inspect.cleandoc(command.help or ""),  # type: ignore[attr-defined]
        arguments=tuple(arguments),
        options=tuple(options),
    )


def _page(lines: Iterator[str]) -> str:
    return "\n".join((_GENERATED, "", *lines)) + "\n"


def _prose(text: str) -> Iterator[str]:
    """Yield an empty line and a paragraph, wrapped."""
    yield ""
    words = " ".join(text.split())
    yield from textwrap.wrap(words, 100, break_long_words=False, break_on_hyphens=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield an empty line and a table."""
    yield ""
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(_cell(cell) for cell in row) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("  [", " [")


def _first_paragraph(documented: type | ModuleType) -> str:
    paragraph = (inspect.getdoc(documented) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def _type_name(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


if __name__ == "__main__":
    write()
