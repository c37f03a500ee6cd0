"""Which process holds a lease, so that its death shows at once where it can be seen.

A mark names the boot of the machine, the namespace of process ids, the id, and when the process
began. Only where boot and namespace are ours can a process be known to be dead; in a container, on
another machine or on another system nothing is known, and the lease's age alone decides.
"""

import os
from pathlib import Path

_PROC = Path("/proc")


def own_mark() -> str | None:
    """Return the mark of this process; None where the system does not tell."""
    place, status = _place(), _status(os.getpid())
    return f"{place} {os.getpid()} {status[1]}" if place and status else None


def is_known_dead(mark: str | None) -> bool:
    """Tell whether the process of a mark has certainly ended."""
    place = _place()
    if mark is None or place is None or not mark.startswith(f"{place} "):
        return False
    number, _, began = mark.removeprefix(f"{place} ").partition(" ")
    if not (number.isascii() and number.isdecimal()):
        return False
    status = _status(int(number))
    if status is None:
        # Where processes of others are hidden, only the kernel itself can tell.
        return not _exists(int(number))
    return status[0] in {"Z", "X"} or status[1] != began


def _place() -> str | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _status(number: int) -> tuple[str, str] | None:
    """Return a process's state and when it began, in ticks since the boot; None where unseen."""
    try:
        status = (_PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # After the name, which may hold anything but ends with the last parenthesis: state, …, start.
    fields = status.rpartition(")")[2].split()
    return fields[0], fields[19]


def _exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
