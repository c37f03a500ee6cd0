"""The settings one by one: key, variable, default, description."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from alexandria_backup.settings.model import PREFIX, Settings
from alexandria_backup.settings.section import Section


@dataclass(frozen=True, kw_only=True)
class SettingDescription:
    """One setting, for the reference."""

    #: Such as `audit.key_file`.
    key: str
    #: Such as `ALEXANDRIA_AUDIT__KEY_FILE`.
    variable: str
    default: str
    description: str


def describe() -> tuple[SettingDescription, ...]:
    """Return every setting, in the order of the file."""
    return tuple(
        SettingDescription(
            key=key,
            variable=variable_of(key),
            default=_default(field),
            description=field.description or "",
        )
        for key, field in fields()
    )


def fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting as its key and its field, in the order of the file."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is not None:
            yield from fields(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the table that a field is; None for a single setting."""
    found = field.annotation
    return found if isinstance(found, type) and issubclass(found, Section) else None


def variable_of(key: str) -> str:
    """Return the variable that sets `key`."""
    return PREFIX + key.replace(".", "__").upper()


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default is None:
        return ""
    value = field.get_default()
    return json.dumps(list(value) if isinstance(value, tuple) else value)
