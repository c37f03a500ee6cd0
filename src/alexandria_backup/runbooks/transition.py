"""One line of a journal: what happened to a step, and the run's state from then on."""

from enum import StrEnum
from typing import Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, ValidationError

from alexandria_backup.errors import JournalInvalid
from alexandria_backup.runbooks.step import RunState

#: The version of the form of a transition.
FORMAT: Final = 1
S = TypeVar("S", bound=RunState)


class Phase(StrEnum):
    """What happened to a step, or to the run as a whole."""

    #: The run begins; no step yet.
    STARTED = "started"
    #: Written before a step acts.
    DOING = "doing"
    #: The step's work is done.
    DONE = "done"
    #: The step's work failed.
    FAILED = "failed"
    #: Written before a step is undone.
    UNDOING = "undoing"
    #: The step's work was taken back.
    UNDONE = "undone"
    #: The run is over: everything was done.
    FINISHED = "finished"
    #: The run is over: everything was undone.
    ABORTED = "aborted"


class Transition(BaseModel):
    """One line of a journal."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    format: Literal[1] = FORMAT
    run: str
    seq: int
    #: SHA-256 of the line before this one, as it is stored; None in the first. Two stores whose
    #: lines come from two histories cannot be taken for one.
    previous: str | None
    #: By the clock of the machine that wrote it.
    at: AwareDatetime
    runbook: str
    #: The step's name; None for the run as a whole.
    step: str | None
    phase: Phase
    #: The error's message where the phase is `failed`.
    message: str | None = None
    #: The run's state from now on, as its runbook defines it.
    state: dict[str, JsonValue]
    #: The version of this program.
    tool: str
    host: str
    pid: int

    @property
    def over(self) -> bool:
        """Tell whether the run has ended, one way or the other."""
        return self.phase in {Phase.FINISHED, Phase.ABORTED}


def parse_transition(data: bytes, *, name: str) -> Transition:
    """Return the transition that `data` holds; raise JournalInvalid, naming `name`, otherwise."""
    try:
        return Transition.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        if where == "format":
            raise JournalInvalid(
                f"`{name}` is of another version of the journal's format, {FORMAT} was expected",
                hint="resume or abort the run with the version that began it",
            ) from None
        raise JournalInvalid(f"`{name}` is damaged: {where}: {first['msg']}") from None


def read_state(state_type: type[S], transition: Transition) -> S:
    """Return the state that a transition carries; raise JournalInvalid for another version's."""
    try:
        return state_type.model_validate(transition.state)
    except ValidationError as error:
        raise JournalInvalid(
            f"the journal of run `{transition.run}` does not fit runbook "
            f"`{transition.runbook}`: {error.error_count()} fields differ",
            hint="resume or abort the run with the version that began it",
        ) from None
