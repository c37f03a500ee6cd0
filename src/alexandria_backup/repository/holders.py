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
    place, began = _place(), _began(os.getpid())
    return f"{place} {os.getpid()} {began}" if place and began else None


def is_known_dead(mark: str | None) -> bool:
    """Tell whether the process of a mark has certainly ended."""
    place = _place()
    if mark is None or place is None or not mark.startswith(f"{place} "):
        return False
    number, _, began = mark.removeprefix(f"{place} ").partition(" ")
    return number.isascii() and number.isdecimal() and _began(int(number)) != began


def _place() -> str | None:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _began(number: int) -> str | None:
    """Return when a process began, in ticks since the boot; None where it has ended."""
    try:
        status = (_PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # After the name, which may hold anything but ends with the last parenthesis: state, …, start.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else fields[19]
