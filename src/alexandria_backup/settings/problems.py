"""What is wrong with given settings, each problem in words that name the setting."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alexandria_backup.errors import SettingsInvalid
from alexandria_backup.settings.description import fields, section_of, variable_of
from alexandria_backup.settings.files import CONFIG_VARIABLE
from alexandria_backup.settings.model import PREFIX, Settings

#: What Kubernetes sets in each pod for a Service whose name begins with `alexandria`.
_SERVICE_LINK = re.compile(
    r"ALEXANDRIA_([A-Z0-9_]+_)?"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line per variable that looks like a setting and is none."""
    known = [variable_of(key) for key, _ in fields()] + [CONFIG_VARIABLE]
    for name in environ:
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.fullmatch(name):
            yield f"the variable `{name}` is no setting{_nearest(name, known)}"


def misplaced(content: Mapping[str, Any], source: Path | None) -> Iterator[str]:
    """Yield a line per key of the file that has no business where it stands."""
    if "dsn" in content:
        yield (
            f"`dsn` does not belong into `{source}`, which others may read: "
            f"put it into a file of mode 0600 and name that as `[database] dsn_file`"
        )
    drill = content.get("drill")
    if isinstance(drill, dict) and "dsn" in drill:
        yield (
            f"`drill.dsn` does not belong into `{source}`, which others may read: "
            f"put it into a file of mode 0600 and name that as `[drill] dsn_file`"
        )
    audit = content.get("audit")
    if isinstance(audit, dict) and "key" in audit:
        yield (
            f"`audit.key` does not belong into `{source}`, which others may read: "
            f"put it into a file of mode 0600 and name that as `[audit] key_file`"
        )
    known = [key for key, _ in fields()]
    for name, value in content.items():
        field = Settings.model_fields.get(name)
        if field is None:
            yield f"{_shown(name)} in `{source}` is no setting{_nearest(name, known)}"
        elif section_of(field) and not isinstance(value, dict):
            yield f"`{name}` in `{source}` is wrong: it is a section, written `[{name}]`"


def _shown(name: str) -> str:
    return f"`{name}`" if name.isprintable() else ascii(name)


def explained(
    error: ValidationError, environ: Mapping[str, str], source: Path | None
) -> Iterator[str]:
    """Yield a line per error of pydantic's; never with the value that was given."""
    keys = [key for key, _ in fields()]
    keys += sorted({key.partition(".")[0] for key in keys})
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        key = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
        given_in = (
            f"the variable `{variable_of(key)}`"
            if variable_of(key) in environ
            else f"`{key}` in `{source}`"
        )
        if problem["type"] == "extra_forbidden":
            yield f"{_shown(key)} in `{source}` is no setting{_nearest(key, keys)}"
        else:
            said = problem["msg"].removeprefix("Value error, ")
            yield f"{given_in} is wrong: {said[:1].lower()}{said[1:]}"


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; the nearest is `{near[0]}`" if near else ""


def invalid(problems: Iterable[str]) -> SettingsInvalid:
    """Return the one error that tells all problems."""
    return SettingsInvalid("; ".join(problems), hint="see docs/reference/settings.md")
