"""Amounts as people read them: `12.3 MB`, `1,204 rows`, `2 min 05 s`."""

_STEP = 1000
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def amount(count: int, unit: str) -> str:
    """Return a count with its unit; bytes are scaled by powers of 1,000."""
    if unit != "bytes":
        return f"{count:,} {unit}"
    size = float(count)
    for name in _UNITS:
        if size < _STEP or name == _UNITS[-1]:
            return f"{count} bytes" if name == "bytes" else f"{size:.1f} {name}"
        size /= _STEP
    raise AssertionError("unreachable")


def rate(count: int, unit: str, seconds: float) -> str:
    """Return how much was done per second."""
    return f"{amount(int(count / seconds) if seconds > 0 else 0, unit)}/s"


def duration(seconds: float) -> str:
    """Return a duration: tenths below a minute, then minutes and hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def age(seconds: float) -> str:
    """Return an age roughly: `3 minutes`, `5 hours`, `12 days`."""
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{int(seconds)} seconds"
