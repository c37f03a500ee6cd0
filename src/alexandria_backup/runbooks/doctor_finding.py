"""One line of the doctor's report."""

from dataclasses import dataclass
from enum import StrEnum

from alexandria_backup.errors import AlexandriaError


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    status: Status
    message: str
    #: A command to type, or the one thing to do.
    hint: str | None = None


def ok(name: str, message: str) -> Finding:
    """Return a line about what is good."""
    return Finding(name=name, status=Status.OK, message=message)


def failed(name: str, error: AlexandriaError) -> Finding:
    """Return a line about what an error tells."""
    return Finding(name=name, status=Status.FAILED, message=error.message, hint=error.hint)
