"""The ways of putting a row's values together that a recipe can name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alexandria_backup.audit.canonical import length_prefixed
from alexandria_backup.audit.jcs import jcs, parsed, sorted_json

LENGTH_PREFIXED: Final = "length-prefixed"
JSON_SORTED: Final = "json-sorted"
JCS: Final = "jcs"
#: What follows is the delimiter itself.
DELIMITED: Final = "delimited:"

#: Names and values of a row to bytes; a value is None where it is NULL.
Encode = Callable[[Sequence[str], Sequence[bytes | None]], bytes]


def encoder(encoding: str, *, null: str, parse: frozenset[str]) -> Encode | None:
    """Return what puts values together, or None for an encoding that nobody knows.

    `null` stands for NULL between delimiters; the fields in `parse` hold JSON, which enters a JSON
    encoding as what it means.
    """
    if encoding == LENGTH_PREFIXED:
        return _prefixed
    if encoding.startswith(DELIMITED) and len(encoding) > len(DELIMITED):
        return _Delimited(encoding.removeprefix(DELIMITED).encode(), null.encode())
    if encoding == JSON_SORTED:
        return _Json(sorted_json, parse)
    if encoding == JCS:
        return _Json(jcs, parse)
    return None


def _prefixed(_: Sequence[str], values: Sequence[bytes | None]) -> bytes:
    return length_prefixed(values)


@dataclass(frozen=True)
class _Delimited:
    delimiter: bytes
    null: bytes

    def __call__(self, _: Sequence[str], values: Sequence[bytes | None]) -> bytes:
        return self.delimiter.join([self.null if value is None else value for value in values])


@dataclass(frozen=True)
class _Json:
    write: Callable[[dict[str, Any]], bytes]
    parse: frozenset[str]

    def __call__(self, names: Sequence[str], values: Sequence[bytes | None]) -> bytes:
        return self.write(
            {
                name: None
                if value is None
                else parsed(value)
                if name in self.parse
                else value.decode()
                for name, value in zip(names, values, strict=True)
            }
        )
