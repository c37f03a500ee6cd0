"""What `/license` says: tier, seats and expiry, read with tolerance and without guessing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

#: The names under which a field has been seen, the application's own first.
_EXPIRES = ("expires", "expires_at", "expiry", "valid_until")
_SEATS = ("seats", "seat_count", "max_seats")
_TIER = ("tier", "plan", "edition")


@dataclass(frozen=True, kw_only=True)
class LicenseReport:
    """The application's licence, as it tells it itself; a field it did not tell is None."""

    tier: str | None
    #: How many users are allowed.
    seats: int | None
    #: When it ends, aware.
    expires: datetime | None
    #: Which of `tier`, `seats` and `expires` were missing or could not be read.
    missing: tuple[str, ...]


def read_license(document: Mapping[str, object]) -> LicenseReport:
    """Read the JSON object of `/license`, also where it stands under a key `license`."""
    inner = document.get("license")
    if isinstance(inner, dict):
        document = inner
    tier = _text(_first(document, _TIER))
    seats = _count(_first(document, _SEATS))
    expires = _instant(_first(document, _EXPIRES))
    found = {"tier": tier, "seats": seats, "expires": expires}
    return LicenseReport(
        tier=tier,
        seats=seats,
        expires=expires,
        missing=tuple(name for name, value in found.items() if value is None),
    )


def _first(document: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((document[name] for name in names if document.get(name) is not None), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


def _instant(value: object) -> datetime | None:
    """Read an ISO 8601 date or instant; one without an offset is taken as UTC."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
