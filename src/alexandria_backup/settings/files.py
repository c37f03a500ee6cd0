"""Finding the settings file and reading it."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG, S_IWGRP, S_IWOTH
from typing import Any, get_args

from pydantic.fields import FieldInfo

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.settings.description import fields
from alexandria_backup.settings.model import PREFIX
from alexandria_backup.settings.types import expanded

#: The variable that names the settings file; it is no setting itself.
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
FILE_NAME = "alexandria.toml"
_SYSTEM_FILE = Path("/etc/alexandria/backup.toml")


def named_file(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the file that option or variable name; None where none does."""
    named = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is None:
        return None
    try:
        return cwd / expanded(named)
    except ValueError as error:
        raise SettingsInvalid(f"the settings file cannot be found: {error}") from error


def found_file(environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the first file that lies where one is looked for; None where none does."""
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '/nonexistent')}/.config"
    places = (cwd / FILE_NAME, Path(home) / "alexandria" / FILE_NAME, _SYSTEM_FILE)
    return next((place for place in places if _is_there(place)), None)


def _is_there(place: Path) -> bool:
    try:
        # Not `is_file`: from Python 3.14 on, a folder closed to us is an empty one to it.
        return S_ISREG(place.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        # Going on to the next place could lead to other settings.
        raise SettingsInvalid(f"`{place}` cannot be looked at: {error.strerror}") from error


def read_file(source: Path, *, guarded: bool) -> dict[str, Any]:
    """Return the content, its relative paths made relative to the file; raises SettingsInvalid.

    `guarded` refuses a file that somebody else may have laid there.
    """
    try:
        with source.open("rb") as file:
            if guarded:
                _refuse_strangers(os.fstat(file.fileno()), source)
            content = tomllib.loads(file.read().decode("utf-8"))
    except FileNotFoundError:
        raise SettingsInvalid(
            f"the settings file `{source}` does not exist", hint=f"ls {source.parent}"
        ) from None
    except OSError as error:
        raise SettingsInvalid(f"`{source}` cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"`{source}` is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        # TOML's message tells line and column, and quotes nothing.
        raise SettingsInvalid(f"`{source}` is not TOML: {error}") from None
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        raise SettingsInvalid(f"`{source}` is not usable as TOML: {said}") from None
    return _anchored(content, source.parent)


def _refuse_strangers(found: os.stat_result, source: Path) -> None:
    """Refuse a file that somebody else may have laid into the folder: its commands are run."""
    # A user's own group is no stranger: with a umask of 002, all that he makes is his group's, too.
    writable = found.st_mode & S_IWOTH or (found.st_mode & S_IWGRP and found.st_gid != os.getegid())
    if found.st_uid in {0, os.geteuid()} and not writable:
        return
    how = "can be written by others" if writable else "belongs to another user"
    raise SettingsInvalid(
        f"`{source}` {how}, and is read only where it is named: its commands would be run",
        hint=f"alexandria --config ./{FILE_NAME} …",
    )


def _anchored(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make relative paths in the file relative to the file."""
    for key, field in fields():
        *sections, name = key.split(".")
        table: Any = content
        for section in sections:
            table = table.get(section) if isinstance(table, dict) else None
        value = table.get(name) if isinstance(table, dict) else None
        if not isinstance(value, str) or not value or value.startswith("~"):
            continue
        if _is_path(field) or (key == "repository" and ":" not in value.partition("/")[0]):
            table[name] = str(folder / value)
    _anchor_keys(content, folder)
    return content


def _anchor_keys(content: dict[str, Any], folder: Path) -> None:
    """Make the paths of `[[audit.keys]]` relative to the file, too."""
    audit = content.get("audit")
    keys = audit.get("keys") if isinstance(audit, dict) else None
    for key in keys if isinstance(keys, list) else ():
        path = key.get("file") if isinstance(key, dict) else None
        if isinstance(path, str) and path and not path.startswith("~"):
            key["file"] = str(folder / path)


def _is_path(field: FieldInfo) -> bool:
    kinds = (field.annotation, *get_args(field.annotation))
    return any(kind is Path or get_args(kind)[:1] == (Path,) for kind in kinds)
