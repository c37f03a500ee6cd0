"""PostgreSQL's text of a timestamp to exact microseconds since the epoch, and from there onward.

Python's datetime ends with the year 9999 and knows no year before 1; PostgreSQL's timestamps reach
from 4714 BC to 294276 AD, and `infinity`. Both count in the proleptic Gregorian calendar.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

_TEXT: Final = re.compile(
    rb"(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?"
    rb"(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?( BC)?"
)
_INFINITE: Final = frozenset({b"infinity", b"-infinity"})
_SECOND: Final = 1_000_000
_EPOCH_DAY: Final = 719_468
#: `YYYY-MM-DD HH:MM:`, which many rows share.
_MINUTE_LENGTH: Final = 17
_MINUTES_KEPT: Final = 4096


class Microseconds:
    """Turns the ISO text of `timestamp` and `timestamptz`, at any offset, into decimal numbers.

    A time without an offset counts as UTC. `infinity` and `-infinity` stay as they are. An object
    remembers the minutes that it has seen, since neighbouring rows share them.
    """

    def __init__(self) -> None:
        self._minutes: dict[bytes, int] = {}

    def __call__(self, text: bytes) -> bytes:
        """Return the microseconds since 1970-01-01T00:00:00Z; ValueError for any other text."""
        if text.endswith(b"+00"):
            known = self._minutes.get(text[:_MINUTE_LENGTH])
            rest = text[_MINUTE_LENGTH:-3]
            if known is not None and len(rest) == 9 and rest[2:3] == b".":
                digits = rest[:2] + rest[3:]
                if digits.isdigit() and rest < b"60":
                    return b"%d" % (known + int(digits))
        return self._exact(text)

    def _exact(self, text: bytes) -> bytes:
        if text in _INFINITE:
            return text
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError("not a timestamp in PostgreSQL's ISO form")
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        if match[12]:
            year = 1 - year
        whole = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60
        offset = int(match[9] or 0) * 3600 + int(match[10] or 0) * 60 + int(match[11] or 0)
        start = whole - (-offset if match[8] == b"-" else offset)
        if text.endswith(b"+00") and len(match[1]) == 4:
            self._remember(text[:_MINUTE_LENGTH], start * _SECOND)
        fraction = int((match[7] or b"").ljust(6, b"0"))
        return b"%d" % ((start + second) * _SECOND + fraction)

    def _remember(self, minute: bytes, start: int) -> None:
        if len(self._minutes) >= _MINUTES_KEPT:
            self._minutes.clear()
        self._minutes[minute] = start


def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 by Howard Hinnant's algorithm `days_from_civil`."""
    shifted = year - (month <= 2)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _EPOCH_DAY


_remembering: Final = Microseconds()


def microseconds(text: bytes) -> bytes | None:
    """Return the microseconds since 1970-01-01T00:00:00Z, or None for what is no timestamp."""
    try:
        return _remembering(text)
    except ValueError:
        return None


def _seconds(at: int) -> tuple[str, int]:
    """Return date and time of day, `YYYY-MM-DDTHH:MM:SS`, and the microseconds of the second."""
    seconds, micro = divmod(at, _SECOND)
    days, of_day = divmod(seconds, 86_400)
    year, month, day = _civil(days)
    clock = f"{of_day // 3600:02}:{of_day // 60 % 60:02}:{of_day % 60:02}"
    return f"{year:04}-{month:02}-{day:02}T{clock}", micro


def _trimmed(micro: int) -> str:
    return f".{micro:06}".rstrip("0").rstrip(".")


def _all_digits(at: int) -> str:
    second, micro = _seconds(at)
    return f"{second}.{micro:06}Z"


def _milliseconds(at: int) -> str:
    second, micro = _seconds(at)
    return f"{second}.{micro // 1000:03}Z"


def _rfc3339(at: int) -> str:
    second, micro = _seconds(at)
    return f"{second}{_trimmed(micro)}Z"


def _python(at: int) -> str:
    second, micro = _seconds(at)
    return f"{second}{f'.{micro:06}' if micro else ''}+00:00"


def _postgres(at: int) -> str:
    second, micro = _seconds(at)
    return f"{second.replace('T', ' ')}{_trimmed(micro)}+00"


#: How a timestamp can be written in a message, from its microseconds since the epoch.
FORMS: Final[Mapping[str, Callable[[int], str]]] = MappingProxyType(
    {
        "epoch-microseconds": str,
        "epoch-milliseconds": lambda at: str(at // 1000),
        "epoch-seconds": lambda at: str(at // _SECOND),
        # 2026-11-23T12:00:00.120000Z, .120Z, .12Z as Go's RFC3339Nano has it.
        "iso8601-microseconds": _all_digits,
        "iso8601-milliseconds": _milliseconds,
        "rfc3339": _rfc3339,
        # As `datetime.isoformat()`, and as the server's text in UTC.
        "python-isoformat": _python,
        "postgres": _postgres,
    }
)


def in_form(form: str, at: bytes) -> bytes:
    """Write microseconds since the epoch in one of `FORMS`; what is no number stays as it is."""
    if form == "epoch-microseconds" or not at.removeprefix(b"-").isdigit():
        return at
    return FORMS[form](int(at)).encode()


def _civil(days: int) -> tuple[int, int, int]:
    """Return year, month and day; Howard Hinnant's algorithm `civil_from_days`."""
    era, of_era = divmod(days + _EPOCH_DAY, 146_097)
    of_period = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * of_period + of_period // 4 - of_period // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)
    return (
        of_period + era * 400 + (month <= 2),
        month,
        of_year - (153 * shifted + 2) // 5 + 1,
    )
