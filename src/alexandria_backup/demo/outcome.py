"""What the demo has shown: each scene, what it took, and what came of it."""

from dataclasses import dataclass
from typing import Final

#: How many rows are written, unless the operator says otherwise.
DEFAULT_ROWS: Final = 200_000


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One scene of the story."""

    title: str
    seconds: float
    #: What came of it, in one line.
    result: str
    #: Bytes written or read; None where that says nothing.
    bytes: int | None = None
    rows: int | None = None
    #: How long the application was away; None where it was not stopped.
    downtime_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The whole story; it exists only where every scene ended as it must."""

    scenes: tuple[Scene, ...]
    #: The audit chain's status at the end.
    chain: str
    #: The folder in which everything was left; None where it was removed.
    kept_in: str | None
