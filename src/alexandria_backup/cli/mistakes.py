"""What is answered to a command line that cannot be: our own words, and the command to type."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from typer.exceptions import TyperException

from alexandria_backup.errors import UsageError

_PROGRAM: Final = "alexandria"
#: Options of the program itself, which stand before a command.
_OWN_OPTIONS: Final = frozenset({"--config", "--namespace", "--values", "--version"})
#: What lists the values of an argument that is missing.
_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {"run": f"{_PROGRAM} run list", "snapshot": f"{_PROGRAM} snapshot list"}
)
#: What other programs have as commands.
_OPTIONS_HERE: Final[Mapping[str, str]] = MappingProxyType(
    {"help": f"{_PROGRAM} --help", "version": f"{_PROGRAM} --version"}
)
#: typer's own name of it, whose message is the whole help.
_NO_COMMAND_AT_ALL: Final = "NoArgsIsHelpError"
_QUOTED: Final = re.compile(r"'([^']*)'")
_NO_COMMAND: Final = re.compile(r"no such command `(\w+)`")
_NO_OPTION: Final = re.compile(r"^(no such option:) (\S+)")


def mistake(error: TyperException) -> UsageError:
    """Return what typer says of a command line as an error of ours."""
    # Each kind of them has other attributes.
    found: Any = error
    said = found.format_message() if hasattr(found, "format_message") else str(found)
    if type(error).__name__ == _NO_COMMAND_AT_ALL:
        known = found.ctx.command.list_commands(found.ctx)
        names = ", ".join(f"`{name}`" for name in known)
        return UsageError(f"a command is missing, one of {names}", hint=_hint(found, ""))
    said = said.strip().removesuffix(".").removesuffix("?")
    # What pydantic says of a value is a sentence.
    said = re.sub(r": (Value error, )?([A-Z])", lambda at: f": {at[2].lower()}", said)
    said = _QUOTED.sub(r"`\1`", said).replace(". Did you mean ", "; the nearest is ")
    said = _NO_OPTION.sub(r"\1 `\2`", said[:1].lower() + said[1:])
    near = getattr(found, "possibilities", None) or ()
    if near:
        said = f"{said.partition(' (')[0]}; the nearest is `{near[0]}`"
    return UsageError(said, hint=_hint(found, said))


def _hint(found: Any, said: str) -> str:  # noqa: ANN401 - typer's errors have no common form
    context = getattr(found, "ctx", None)
    command = context.command_path.split()[1:] if context is not None else []
    option = getattr(found, "option_name", None)
    if command and option in _OWN_OPTIONS:
        return " ".join((_PROGRAM, option, "…", *command, "…"))
    unknown = _NO_COMMAND.search(said)
    if unknown is not None and unknown[1] in _OPTIONS_HERE:
        return _OPTIONS_HERE[unknown[1]]
    missing = str(getattr(getattr(found, "param", None), "name", None))
    if said.startswith("missing") and missing in _LISTS:
        return _LISTS[missing]
    return " ".join((_PROGRAM, *command, "--help"))
