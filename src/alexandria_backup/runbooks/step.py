"""What a step of a runbook is, and what a runbook is: a list of steps with one commit point."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict


class RunState(BaseModel):
    """What a run has found out so far; journalled whole at each transition, so never a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    #: The run's id, such as `restore-20261123T120000Z-k3x9`.
    run: str
    #: What the operator must look at afterwards; a run with warnings ends with exit code 3.
    warnings: tuple[str, ...] = ()


S = TypeVar("S", bound=RunState)


def shell(*words: str) -> str:
    """Return a command line that a person can type, with every word quoted where it must be."""
    return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a step would do, for a person who decides whether to let it."""

    #: One sentence.
    sentence: str
    #: The equivalent shell commands of the paper runbook; secrets are redacted.
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done(Generic[S]):
    """What a step did: the state from now on, and one line for the operator."""

    state: S
    result: str = ""


class Step(Protocol[S]):
    """One step of a runbook.

    `do` and `undo` are idempotent: doing a step twice equals doing it once, since a crash may have
    come between the deed and the journal's line about it. Both look at the database, not at the
    state, to learn whether the deed is done. `undo` also takes back a half-done `do`.
    """

    #: Unique within the runbook, lower case with hyphens: `create-shadow`.
    name: ClassVar[str]
    #: False where `do` only reads, see `ReadingStep`; all others are skipped by `--plan`.
    changes: ClassVar[bool]

    def explain(self, state: S) -> Explanation:
        """Say what `do` would do; must work before any step has run."""
        ...

    def do(self, state: S) -> Done[S]:
        """Do the step's work, or raise an `AlexandriaError`."""
        ...

    def undo(self, state: S) -> S:
        """Take the step's work back; does nothing where there is nothing to take back."""
        ...


class ReadingStep:
    """Base of the steps that only read: `--plan` does them, and nothing is there to undo."""

    changes: ClassVar[bool] = False

    def undo(self, state: S) -> S:
        """Nothing was changed."""
        return state


#: Asked once, after the steps that only read and before the first that changes anything.
#: Raises `Interrupted` or `UsageError` to stop the run there.
Confirm = Callable[[S], None]


@dataclass(frozen=True, kw_only=True)
class Runbook(Generic[S]):
    """A procedure: its steps in order, and the step after which nothing is undone by itself."""

    name: str
    steps: tuple[Step[S], ...]
    state_type: type[S]
    #: The step that makes the result the truth, or None where every failure is undone.
    commit: str | None = None
    #: Whether the procedure replaces a live database: a failure is then exit code 40 or 41.
    replaces_live: bool = False

    def index(self, step: str) -> int:
        """Return the position of the step of this name; raise KeyError where there is none."""
        for position, candidate in enumerate(self.steps):
            if candidate.name == step:
                return position
        raise KeyError(step)

    def is_past_commit(self, position: int) -> bool:
        """Tell whether the step at `position` comes after the commit point."""
        return self.commit is not None and position > self.index(self.commit)
