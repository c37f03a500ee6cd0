"""The port to what runs the application: Kubernetes, systemd, or nothing that we manage.

A restore stops the application before the fence and starts it after the swap. It may be resumed
by another process on another machine, so what `stop` found is a value that goes into the journal,
and both verbs may be called twice.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class StoppedUnit:
    """One thing that was stopped: a deployment, a service."""

    #: Its name on the platform, such as `deployment/alexandria-api`.
    name: str
    #: How many instances ran before: replicas, or 1 and 0 for a service.
    instances: int


@dataclass(frozen=True, kw_only=True)
class StopRecord:
    """What must be known to start the application again as it was.

    Made of plain values only: it goes into the journal as it is.
    """

    #: `Platform.name` of the platform that stopped it.
    platform: str
    #: Whether the application ran before; None where the platform cannot know.
    was_running: bool | None
    #: Whether the application is stopped now, as far as the platform can tell.
    stopped: bool
    #: What was stopped, with its size before; empty where the platform has no such notion.
    units: tuple[StoppedUnit, ...] = ()
    #: What the operator should know where less was done than asked; None where all is well.
    caution: str | None = None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Something that the operator had better do before the application is stopped."""

    message: str
    #: The command that does it.
    command: str


class Platform(Protocol):
    """Stop and start the application. Every verb may be called twice; none prints or prompts."""

    @property
    def name(self) -> str:
        """`kubernetes`, `systemd` or `unmanaged`."""
        ...

    @property
    def managed(self) -> bool:
        """Whether `stop` really stops something; False where only the fence keeps writers out."""
        ...

    def explain_stop(self) -> str:
        """Return one sentence and the equivalent shell command, for `--plan`; never fails."""
        ...

    def explain_start(self) -> str:
        """Return one sentence and the equivalent shell command, for `--plan`; never fails."""
        ...

    def check(self) -> None:
        """Raise `PlatformRefused` if `stop` or `start` could not work now; changes nothing."""
        ...

    def advice(self) -> tuple[Advice, ...]:
        """Return what the operator had better do before a stop; only reads.

        Raises `PlatformRefused`.
        """
        ...

    def stop(self) -> StopRecord:
        """Stop the application, wait until it is, and return what `start` needs.

        An application that is stopped already is left so. Raises `PlatformRefused`. A caller that
        has a record of an earlier `stop` keeps the earlier one: a second `stop` sees an
        application that does not run.
        """
        ...

    def confirm_stopped(self, record: StopRecord) -> None:
        """Raise `PlatformRefused` if what `stop` stopped was started again by somebody else.

        Where the platform cannot know, nothing is raised: the fence is the lock.
        """
        ...

    def start(self, record: StopRecord) -> None:
        """Start what `stop` stopped, as it was.

        A platform that knows whether its instances run waits for that; whether the application
        serves is asked by `readiness.py`. What did not run before is not started. An application
        that runs already is left so. Raises `PlatformRefused`, or `ApplicationNotReady`.
        """
        ...

    def log_since(self, began: datetime) -> str | None:
        """Return what the application has said since then, or None where that cannot be known.

        Raises `PlatformRefused`.
        """
        ...
