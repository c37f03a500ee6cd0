"""A process that reads small files for another one, from both sides.

Exclusions and tasks go to its standard input; what was read comes from its standard output, and
None behind what was read of one folder's files.
"""

import fcntl
import gc
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from threading import Thread
from typing import IO, Final, TypeAlias

from alexandria_backup.bundle.exclusions import Excluder, Exclusions
from alexandria_backup.bundle.found import Files
from alexandria_backup.bundle.small import Batch, SmallFiles

#: What an answer may fill before a process waits for us; Linux allows that without a privilege.
_PIPE_BYTES: Final = 1 << 20

#: Files that were read, the name of one that must be looked at by itself, or the room they take.
Answer: TypeAlias = Batch | str | int
#: Files, and whether only the room they take is asked for.
_Task: TypeAlias = tuple[Files, bool]


class ReaderProcess:
    """The side of who asks."""

    def __init__(self, exclusions: Exclusions, here: SmallFiles) -> None:
        """Start it; `here` reads what it has not read, should it end before its time."""
        self._here = here
        #: Files that were asked for and have not come back.
        self.files = 0
        # In a group of its own: a Ctrl-C is for us. `-P`: what lies in the present folder is no
        # module of ours.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - asked for above
        self._tasks: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # a user has so many pages for all pipes
                fcntl.fcntl(self._answers, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._send(exclusions)

    def begin(self, files: Files, *, measure: bool) -> Iterator[Answer]:
        """Ask for files; iterate over what comes of it after all that was begun before."""
        self.files += len(files.names)
        self._send((files, measure))
        return self._taken(files, measure=measure)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        with suppress(OSError):  # what was not sent yet
            self._tasks.close()
        self._answers.close()
        self._process.wait()

    def _send(self, what: Exclusions | _Task) -> None:
        with suppress(OSError):  # it has ended, and there will be no answer either
            pickle.dump(what, self._tasks, pickle.HIGHEST_PROTOCOL)
            self._tasks.flush()

    def _taken(self, files: Files, *, measure: bool) -> Iterator[Answer]:
        done = 0
        try:
            while (answer := self._answer()) is not None:
                yield answer
                done += answer.entries if isinstance(answer, Batch) else 1
        except (EOFError, OSError, pickle.UnpicklingError):
            rest = replace(files, names=files.names[done:])
            yield from self._here.measured(rest) if measure else self._here.read(rest)
        self.files -= len(files.names)

    def _answer(self) -> Answer | None:
        answer: Answer | None = pickle.load(self._answers)  # noqa: S301 - from our own process
        return answer


def serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until nothing more is asked: the side of the process."""
    small = SmallFiles(Excluder(pickle.load(tasks)))  # noqa: S301 - from who has started us
    waiting: SimpleQueue[_Task | None] = SimpleQueue()
    # Tasks are always taken: who asks must not wait while we wait for them to take an answer.
    Thread(target=_take, args=(tasks, waiting), daemon=True).start()
    while (task := waiting.get()) is not None:
        files, measure = task
        for answer in small.measured(files) if measure else small.read(files):
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        pickle.dump(None, answers)
        answers.flush()


def _take(tasks: IO[bytes], waiting: "SimpleQueue[_Task | None]") -> None:
    try:
        while True:
            waiting.put(pickle.load(tasks))  # noqa: S301 - as above
    except EOFError:
        waiting.put(None)


if __name__ == "__main__":
    # Nothing here refers to itself, so there is nothing to collect.
    gc.disable()
    serve(sys.stdin.buffer, sys.stdout.buffer)
