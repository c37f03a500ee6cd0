"""Reading a line of the manifest: strictly, in the one form in which `entry.py` writes it."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Final

from alexandria_backup.bundle.entry import MOST_NS, Entry, Kind, Problem, shown
from alexandria_backup.errors import BundleDamaged

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MODE: Final = re.compile(r"[0-7]{4}")


def parse(line: bytes) -> Entry:
    """Return the entry of a line; BundleDamaged where it is not one in canonical form."""
    try:
        fields = json.loads(line)
        entry = _entry(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as exc:
        raise BundleDamaged(f"an entry of the manifest is malformed: {_cut(line)}") from exc
    if entry.line() != line:
        raise BundleDamaged(f"an entry of the manifest is not in canonical form: {_cut(line)}")
    return entry


def _entry(fields: Mapping[str, object]) -> Entry:
    kind = Kind(_string(fields["type"]))
    extents = fields.get("extents")
    problem = fields.get("problem")
    entry = Entry(
        path=_bytes(fields, "path"),
        kind=kind,
        mode=int(_matching(_MODE, fields["mode"]), 8),
        uid=_count(fields["uid"]),
        gid=_count(fields["gid"]),
        user=_string(fields["user"]),
        group=_string(fields["group"]),
        mtime=_integer(fields["mtime"]),
        size=_count(fields["size"]) if kind is Kind.FILE else 0,
        sha256=_matching(_SHA256, fields["sha256"]) if kind is Kind.FILE else None,
        extents=None if extents is None else _extents(extents),
        link=_bytes(fields, "link") if kind in {Kind.SYMLINK, Kind.HARDLINK} else b"",
        xattrs=_xattrs(fields.get("xattrs", {})),
        ns=_count(fields.get("ns", 0)),
        problem=None if problem is None else Problem(_string(problem)),
    )
    if entry.ns >= MOST_NS or (extents is not None and kind is not Kind.FILE):
        raise ValueError
    return entry


def _bytes(fields: Mapping[str, object], key: str) -> bytes:
    if key in fields:
        return _string(fields[key]).encode()
    return base64.b64decode(_string(fields[f"{key}_base64"]), validate=True)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _count(value: object) -> int:
    number = _integer(value)
    if not 0 <= number < 1 << 63:
        raise ValueError
    return number


def _matching(pattern: re.Pattern[str], value: object) -> str:
    text = _string(value)
    if not pattern.fullmatch(text):
        raise ValueError
    return text


def _extents(value: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple((_count(offset), _count(size)) for offset, size in value)


def _xattrs(value: object) -> tuple[tuple[str, bytes], ...]:
    if not isinstance(value, dict):
        raise TypeError
    pairs = ((_string(k), base64.b64decode(_string(v), validate=True)) for k, v in value.items())
    return tuple(sorted(pairs))


def _cut(line: bytes) -> str:
    text = shown(line)
    return text if len(text) <= 120 else f"{text[:120]}…"
