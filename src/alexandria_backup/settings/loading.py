"""From a file and variables to checked settings.

Every field can be set in both; a variable wins. A nested field's variable has two underscores:
`[audit] key_file` is `ALEXANDRIA_AUDIT__KEY_FILE`. A key that does not exist is an error that names
the nearest one: a setting that is silently ignored is how backups stop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alexandria_backup.settings.description import fields, section_of, variable_of
from alexandria_backup.settings.files import found_file, named_file, read_file
from alexandria_backup.settings.model import Settings, default_state_dir
from alexandria_backup.settings.problems import explained, invalid, misplaced, unknown_variables


@dataclass(frozen=True, kw_only=True)
class LoadedSettings:
    """Settings, and where they came from."""

    settings: Settings
    #: The file that was read; None where there was none.
    source: Path | None


def load(*, config: Path | None, environ: Mapping[str, str], cwd: Path) -> LoadedSettings:
    """Find and read the settings file, let the variables win, and check everything.

    The file is `config`, `ALEXANDRIA_CONFIG`, `./alexandria.toml`, the one in the user's config
    folder, or `/etc/alexandria/backup.toml`: the first that is named or exists. Relative paths in
    it are relative to its folder. One that was not named and lies in `cwd` must be root's or this
    user's, and nobody else may write it. Raises SettingsInvalid with a line per problem.
    """
    named = named_file(config, environ, cwd)
    source = named or found_file(environ, cwd)
    content = read_file(source, guarded=named is None and source.parent == cwd) if source else {}
    problems = [*unknown_variables(environ), *misplaced(content, source)]
    if problems:
        raise invalid(problems)
    given = _merged(_merged(_empty_sections(), content), _from_variables(environ))
    if "state_dir" not in given:
        given["state_dir"] = default_state_dir(environ)
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise invalid(explained(error, environ, source)) from None
    return LoadedSettings(settings=settings, source=source)


def _empty_sections() -> dict[str, Any]:
    # Left out, each would be built by its default: a dozen checkers instead of the one of all.
    return {name: {} for name, field in Settings.model_fields.items() if section_of(field)}


def _from_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables' texts in the form of the file; the fields' types read them."""
    given: dict[str, Any] = {}
    for key, _ in fields():
        if variable_of(key) in environ:
            *sections, name = key.split(".")
            table = given
            for section in sections:
                table = table.setdefault(section, {})
            table[name] = environ[variable_of(key)]
    return given


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(under, dict) and isinstance(value, dict)
        result[key] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return result
