"""The journal of a run: one immutable object per transition, written before the step acts.

Layout: `runs/<run>/<seq>.json`, in the local state folder (which must take it) and in the
repository (so that another machine can go on). A transition of another format version is refused.
"""

import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, ValidationError

from alexandria_backup.errors import JournalInvalid, LockedByAnotherRun, ObjectExists, StorageError
from alexandria_backup.events import Emit, Warned
from alexandria_backup.runbooks.step import RunState
from alexandria_backup.storage.store import ObjectStore

#: The version of the form of a transition.
FORMAT: Final = 1
_FOLDER = "runs"
S = TypeVar("S", bound=RunState)
# Digits and letters that nobody misreads over the telephone.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


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

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    run: str
    seq: int
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


def new_run_id(runbook: str, at: datetime) -> str:
    """Return a new id: the runbook's name, UTC, four random characters."""
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"{runbook}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{suffix}"


class Journal:
    """The transitions of one run, in one or more stores; the first store must take each of them."""

    def __init__(self, run: str, stores: Sequence[ObjectStore], emit: Emit) -> None:
        self._run = run
        self._stores = tuple(stores)
        self._emit = emit
        self._deaf: set[str] = set()
        self._transitions = list(_read(run, self._stores, emit))

    @property
    def run(self) -> str:
        """The run's id."""
        return self._run

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """All transitions so far, in order."""
        return tuple(self._transitions)

    @property
    def last(self) -> Transition:
        """The newest transition; raises JournalInvalid where there is none."""
        if not self._transitions:
            raise JournalInvalid(
                f"run `{self._run}` has no journal here", hint="alexandria run list"
            )
        return self._transitions[-1]

    def write(
        self,
        phase: Phase,
        *,
        runbook: str,
        step: str | None,
        state: RunState,
        message: str | None = None,
    ) -> None:
        """Append a transition and return once it is durable.

        Raises LockedByAnotherRun where another process wrote this transition first, and
        StorageError where the first store fails; a failure of a further store is a warning, once.
        """
        transition = Transition(
            run=self._run,
            seq=len(self._transitions) + 1,
            at=datetime.now(UTC),
            runbook=runbook,
            step=step,
            phase=phase,
            message=message,
            state=state.model_dump(mode="json"),
            tool=version("alexandria-backup"),
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        data = transition.model_dump_json(indent=1).encode() + b"\n"
        for position, store in enumerate(self._stores):
            self._put(store, transition, data, required=position == 0)
        self._transitions.append(transition)

    def _put(
        self, store: ObjectStore, transition: Transition, data: bytes, *, required: bool
    ) -> None:
        try:
            store.put(_name(self._run, transition.seq), data)
        except ObjectExists:
            raise LockedByAnotherRun(
                f"another process is working on run `{self._run}`",
                hint=f"alexandria run show {self._run}",
            ) from None
        except StorageError as error:
            if required:
                raise
            if store.url not in self._deaf:
                self._deaf.add(store.url)
                self._emit(
                    Warned(
                        message=f"`{store.url}` did not take the run's journal: {error}; "
                        "only this machine can resume the run"
                    )
                )


def _name(run: str, seq: int) -> str:
    return f"{_FOLDER}/{run}/{seq:06}.json"


def _read(run: str, stores: Sequence[ObjectStore], emit: Emit) -> Iterator[Transition]:
    """Yield the run's transitions from whichever store has each."""
    found: dict[str, ObjectStore] = {}
    for store, names in reversed(_listed(stores, f"{_FOLDER}/{run}/", emit)):
        found.update(dict.fromkeys(names, store))
    for expected, name in enumerate(sorted(found), start=1):
        transition = parse_transition(found[name].get(name), name=name)
        if transition.seq != expected or transition.run != run:
            raise JournalInvalid(
                f"`{name}` is transition {transition.seq} of run `{transition.run}`, "
                f"expected {expected} of `{run}`"
            )
        yield transition


def _listed(
    stores: Sequence[ObjectStore], prefix: str, emit: Emit
) -> list[tuple[ObjectStore, list[str]]]:
    """List what each store has; a repository that does not answer must not stop a rescue."""
    found = []
    for position, store in enumerate(stores):
        try:
            found.append((store, [info.name for info in store.list(prefix)]))
        except StorageError as error:
            if position == 0:
                raise
            emit(Warned(message=f"journals in `{store.url}` cannot be read: {error.message}"))
    return found


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


def list_runs(stores: Sequence[ObjectStore], emit: Emit) -> tuple[str, ...]:
    """Return the ids of all runs that any of the stores knows."""
    ids = {
        parts[1]
        for _, names in _listed(stores, f"{_FOLDER}/", emit)
        for name in names
        if len(parts := name.split("/")) == 3
    }
    return tuple(sorted(ids))


def existing(run: str, stores: Sequence[ObjectStore], emit: Emit) -> Journal:
    """Return the journal of a run; raises JournalInvalid where none of the stores has one."""
    journal = Journal(run, stores, emit)
    if not journal.transitions:
        raise JournalInvalid(f"run `{run}` has no journal here", hint="alexandria run list")
    return journal


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
