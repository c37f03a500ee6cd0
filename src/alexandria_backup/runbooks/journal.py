"""The journal of a run: one immutable object per transition, written before the step acts.

Layout: `runs/<run>/<seq>.json`, in the local state folder (which must take it) and in the
repository (so that another machine can go on). A transition of another format version is refused.
"""

import hashlib
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.metadata import version

from alexandria_backup.errors import JournalInvalid, LockedByAnotherRun, ObjectExists, StorageError
from alexandria_backup.events import Emit, Warned
from alexandria_backup.runbooks.step import RunState
from alexandria_backup.runbooks.transition import Phase, Transition, parse_transition
from alexandria_backup.storage.store import ObjectStore

_FOLDER = "runs"
# Digits and letters that nobody misreads over the telephone.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


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
        lines = list(_read(run, self._stores, emit))
        self._transitions = [line.transition for line in lines]
        self._digest = _digest(lines[-1].data) if lines else None

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
            previous=self._digest,
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
        self._digest = _digest(data)

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


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A transition, and its bytes as they are stored."""

    transition: Transition
    data: bytes


def _read(run: str, stores: Sequence[ObjectStore], emit: Emit) -> Iterator[_Line]:
    """Yield the run's lines from the first store that has each; all must tell one history.

    Each line vouches for those before it, so that of a further store only the last is compared.
    """
    listed = [
        (store, names) for store, names in _listed(stores, f"{_FOLDER}/{run}/", emit) if names
    ]
    first = {name: store for store, names in reversed(listed) for name in names}
    ends = {max(names): store for store, names in listed}
    previous = None
    for expected, name in enumerate(sorted(first), start=1):
        data = first[name].get(name)
        found = parse_transition(data, name=name)
        if found.seq != expected or found.run != run:
            raise JournalInvalid(
                f"`{name}` is transition {found.seq} of run `{found.run}`, "
                f"expected {expected} of `{run}`"
            )
        if found.previous != previous or ends.get(name, first[name]).get(name) != data:
            raise _two_histories(run, expected, [store for store, _ in listed])
        previous = _digest(data)
        yield _Line(transition=found, data=data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _two_histories(run: str, seq: int, stores: Sequence[ObjectStore]) -> JournalInvalid:
    places = " and ".join(f"`{store.url}`" for store in stores)
    return JournalInvalid(
        f"the journal of run `{run}` in {places} tells two histories up to line {seq}: it was "
        "changed, or two machines have gone on with it unknown to each other",
        hint=f"look at `{_FOLDER}/{run}` in each, and move away the one that did not happen",
    )


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
        near = get_close_matches(run, list_runs(stores, emit), n=1)
        raise JournalInvalid(
            f"run `{run}` has no journal here" + (f"; the nearest is `{near[0]}`" if near else ""),
            hint="alexandria run list",
        )
    return journal
