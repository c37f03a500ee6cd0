"""A value that must not be shown: passwords, connection strings and keys."""

import os
import stat
from typing import NoReturn

#: What stands where a secret would stand.
REDACTED = "***"


class Secret:
    """Text that redacts itself wherever it is printed; only `reveal()` opens it.

    Equality compares the values, so that two sources of one secret can be compared without being
    opened. A secret is not picklable and has no JSON form: it cannot reach a journal by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself: only for the call that needs it, never for a message."""
        return self._value

    def redact(self, text: str) -> str:
        """Return `text` with every occurrence of this secret replaced by `***`."""
        return text.replace(self._value, REDACTED) if self._value else text

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


def is_exposed(status: os.stat_result) -> bool:
    """Tell whether others can read or change a file that holds a secret.

    The group may read a file that is root's where we are not root: that is how a pod, which must
    not be root, gets a Secret that is mounted.
    """
    by_group = stat.S_IRGRP if status.st_uid == 0 and os.geteuid() != 0 else 0
    return bool(status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~by_group)
