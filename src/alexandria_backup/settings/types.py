"""The types that a setting can have, and how the text of a variable becomes one of them."""

import json
import shlex
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from alexandria_backup.secret import Secret


class KeyEncoding(StrEnum):
    """How a key is written in its file."""

    RAW = "raw"
    HEX = "hex"
    BASE64 = "base64"


class PlatformName(StrEnum):
    """What runs the application."""

    AUTO = "auto"
    KUBERNETES = "kubernetes"
    SYSTEMD = "systemd"
    UNMANAGED = "unmanaged"


class VaultAuth(StrEnum):
    """How to log in to Vault."""

    TOKEN = "token"  # noqa: S105 - the name of a way
    KUBERNETES = "kubernetes"
    APPROLE = "approle"


def _list_or(split: Callable[[str], list[str]], value: object) -> object:
    """Read a variable's text: JSON where it begins with a bracket, else as `split` does."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return split(value)
    try:
        return json.loads(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _words(value: object) -> object:
    return _list_or(shlex.split, value)


def _statements(value: object) -> object:
    # One statement: SQL is full of blanks and commas, so none of them can divide two.
    return _list_or(lambda text: [text] if text.strip() else [], value)


def _keys(value: object) -> object:
    return _list_or(lambda text: text.replace(",", " ").split(), value)


def json_text(value: object) -> object:
    """Read a variable's text as JSON, for a setting that is a table or a list of tables."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None


def _number(value: object) -> object:
    # To Python `true` is 1.
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("it holds characters that cannot be printed")
    return value


def _path_text(value: object) -> object:
    # `Path("")` would be the working folder.
    if value == "":
        raise ValueError("the path is empty")
    return value


def expanded(path: Path) -> Path:
    """Put the home folder for `~`; raises ValueError for what can be no path."""
    if "\0" in str(path):
        raise ValueError("a path holds no NUL byte")
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("the home folder that `~` stands for is not known") from None


def _secret(value: object) -> object:
    return Secret(value) if isinstance(value, str) else value


Count = Annotated[int, BeforeValidator(_number)]
Seconds = Annotated[float, BeforeValidator(_number)]
Percent = Annotated[float, BeforeValidator(_number)]
Location = Annotated[str, AfterValidator(_one_line)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Hidden = Annotated[Secret, BeforeValidator(_secret)]
Statements = Annotated[tuple[str, ...], BeforeValidator(_statements)]
Keys = Annotated[tuple[str, ...], BeforeValidator(_keys)]
UserPath = Annotated[Path, BeforeValidator(_path_text), AfterValidator(expanded)]
