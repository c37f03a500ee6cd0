"""What the doctor says of one thing: good, or what is wrong and what to do."""

from dataclasses import dataclass
from enum import StrEnum

from alexandria_backup.errors import AlexandriaError


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the doctor says of one thing: good, or what is wrong and what to do."""

    name: str
    status: Status
    message: str
    #: A command to type, or the one thing to do.
    hint: str | None = None


def ok(name: str, message: str) -> Diagnosis:
    """Return a line about what is good."""
    return Diagnosis(name=name, status=Status.OK, message=message)


def failed(name: str, error: AlexandriaError) -> Diagnosis:
    """Return a line about what an error tells."""
    return Diagnosis(name=name, status=Status.FAILED, message=error.message, hint=error.hint)
