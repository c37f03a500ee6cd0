"""JSON documents of values: the written contract behind `--json`.

Times are ISO 8601 in UTC, durations are seconds, sizes are bytes, secrets are `***`.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def document(value: object) -> JsonValue:  # noqa: PLR0911 - one case per type
    """Return `value` as something `json.dumps` takes; what is unknown is shown as text."""
    if isinstance(value, Enum):
        return document(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseModel):
        return {name: document(getattr(value, name)) for name in type(value).model_fields}
    if is_dataclass(value):
        return {item.name: document(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [document(item) for item in value]
    return str(value)
