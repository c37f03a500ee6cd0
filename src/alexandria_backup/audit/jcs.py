"""JSON as an application may have signed it: with sorted keys, or canonical by RFC 8785 (JCS).

A value that is JSON already, such as `metadata`, enters as what it means and not as its text, so
it is read first. JCS knows only what a JavaScript engine would read the same way everywhere:
numbers are doubles, and two keys of one name, or half of a surrogate pair, are errors.
"""

import json
from collections.abc import Mapping
from math import isfinite, isinf
from typing import Any, Final

#: Beyond it, not every whole number is a double.
_SAFE: Final = 2**53 - 1


def parsed(text: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a JSON text means; ValueError where it is none, or names a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def sorted_json(members: Mapping[str, Any]) -> bytes:
    """Return JSON with sorted keys, no blanks and no escapes beyond those that JSON demands."""
    return json.dumps(
        members, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def jcs(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
    """Return the canonical form of RFC 8785; ValueError for what it does not allow."""
    return _written(value).encode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refused(word: str) -> None:
    raise ValueError(f"`{word}` is not JSON")


def _written(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, Mapping):
        # By UTF-16 code units, as the RFC has it; surrogates sort below U+E000 to U+FFFF.
        ordered = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_written(key)}:{_written(item)}" for key, item in ordered) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return _number(value)


def _number(value: float) -> str:
    """Return a number as ECMAScript writes it (ECMA-262, Number::toString)."""
    if isinstance(value, int) and abs(value) <= _SAFE:
        return str(value)
    try:
        double = float(value)
    except OverflowError:
        raise ValueError("a number is too large for JSON's canonical form") from None
    if not isfinite(double) or isinf(double):
        raise ValueError("a number is too large for JSON's canonical form")
    if double == 0:
        return "0"
    sign = "-" if double < 0 else ""
    digits, exponent = _shortest(abs(double))
    count = len(digits)
    if count <= exponent <= 21:
        return sign + digits + "0" * (exponent - count)
    if 0 < exponent <= 21:
        return f"{sign}{digits[:exponent]}.{digits[exponent:]}"
    if -6 < exponent <= 0:
        return f"{sign}0.{'0' * -exponent}{digits}"
    power = f"e{'+' if exponent > 0 else '-'}{abs(exponent - 1)}"
    return sign + (digits if count == 1 else f"{digits[0]}.{digits[1:]}") + power


def _shortest(double: float) -> tuple[str, int]:
    """Return the fewest digits that name this double, and where the point stands after them."""
    mantissa, _, power = repr(double).partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    exponent = len(whole) - leading + int(power or 0)
    return digits.rstrip("0"), exponent
