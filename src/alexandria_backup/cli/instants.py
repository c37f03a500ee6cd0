"""An instant as a person types it."""

from datetime import UTC, datetime

from alexandria_backup.errors import UsageError


def instant(text: str | None) -> datetime | None:
    """Return the instant that ISO 8601 says; raises UsageError for what is none.

    A time without a zone is none: the clock of whoever types may be another than the server's.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"`{text}` is no time in ISO 8601", hint="--at 2026-11-23T12:00:00Z"
        ) from error
    if found.utcoffset() is None:
        utc = found.replace(tzinfo=UTC)
        raise UsageError(
            f"`{text}` does not say in which zone it is", hint=f"--at {utc:%Y-%m-%dT%H:%M:%SZ}"
        )
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise UsageError(f"`{text}` is out of the calendar in UTC") from error
