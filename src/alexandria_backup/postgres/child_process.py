"""One run of a program of PostgreSQL's: what it says is kept, and it never outlives its block."""

import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from alexandria_backup.errors import ClientToolFailed, ClientToolsMissing
from alexandria_backup.postgres.server_errors import RECOVERY_CONFLICT, RECOVERY_CONFLICT_HINT

#: How much of what a program says is kept: a restore of an odd archive may say a lot.
_KEPT_LINES = 50
_KEPT_LINE_BYTES = 2000
#: Lines at the end that an error shows, after the first of all.
_SHOWN_LINES = 4
_ERROR = re.compile(r"\b(?:error|fatal):", re.IGNORECASE)
#: Where row values, statements and thus passwords may follow, also in the lines after.
_PRIVATE = re.compile(r"(?:Command was|DETAIL|CONTEXT|QUERY|STATEMENT|LINE \d+): ?")
#: Seconds from SIGTERM to SIGKILL: pg_restore cancels what its workers run on the server.
_PATIENCE = 5.0
#: What libpq says itself, in the language that the program was given, and the severity with which
#: a server ends a session.
_LOST = re.compile(
    r"server closed the connection|connection to server .* failed|no connection to|FATAL:  "
)
#: What `pg_restore` of 17 and later says to a server of 16 and earlier; the server's own words may
#: be in any language.
_NO_TIMEOUT = re.compile(r"^pg_restore: error: could not execute query:.*transaction_timeout")
_NO_TIMEOUT_COMMAND = "Command was: SET transaction_timeout = 0;"

Redact = Callable[[str], str]


class Messages:
    """What a program writes to its standard error, read by a thread so that it never blocks.

    Kept are the last lines and the first error, without secrets, statements and values of rows.
    """

    def __init__(self, stream: IO[bytes], name: str, redact: Redact) -> None:
        #: Errors that `pg_restore` went on after, and how many of them are about a timeout that
        #: older servers do not know.
        self.errors = self.unknown_timeouts = 0
        self._first_error: str | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._stream, self._prefix, self._redact = stream, f"{name}: ", redact
        self._thread = threading.Thread(target=self._read, name="messages", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when all is read; not for ever, as a worker may outlive the program."""
        self._thread.join(_PATIENCE)

    def lines(self) -> tuple[str, ...]:
        """Return the last lines."""
        return tuple(self._lines)

    def summary(self) -> str:
        """Return the first error and the last ones, or else the last lines, in one line."""
        errors = [line for line in self._lines if _ERROR.search(line)]
        last = (errors or [line for line in self._lines if line])[-_SHOWN_LINES:]
        if self._first_error is not None and self._first_error not in last:
            last.insert(0, self._first_error)
        return "; ".join(last) or "it said nothing"

    def _read(self) -> None:
        about_timeout = private = False
        for line in self._whole_lines():
            if line.startswith(self._prefix):
                private = False
            if line.startswith("pg_restore: error:"):
                self.errors += 1
                about_timeout = bool(_NO_TIMEOUT.match(line))
            elif about_timeout and line == _NO_TIMEOUT_COMMAND:
                self.unknown_timeouts += 1
                about_timeout = False
            private = private or bool(_PRIVATE.match(line))
            if private:
                continue
            shown = self._redact(line)
            self._lines.append(shown)
            if self._first_error is None and _ERROR.search(shown) and not about_timeout:
                self._first_error = shown

    def _whole_lines(self) -> Iterator[str]:
        """Yield the beginning of each line: what follows could start like a message."""
        with self._stream as stream:
            begins = True
            while raw := stream.readline(_KEPT_LINE_BYTES):
                if begins:
                    yield raw.decode(errors="replace").rstrip()
                begins = raw.endswith(b"\n")


class ChildProcess:
    """A running program."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, messages: Messages) -> None:
        self.name = name
        self.messages = messages
        self.process = process

    def wait(self) -> int:
        """Wait for its end; return its status, negative for a signal."""
        status = self.process.wait()
        self.messages.wait()
        return status

    def failure(self, status: int) -> ClientToolFailed:
        """Return what to raise for a status that is not success."""
        how = f"status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
        hint = None
        if "server version mismatch" in self.messages.summary():
            hint = "install the client tools of the server's own major version"
        elif "due to statement timeout" in self.messages.summary():
            # That is how pg_dump's --lock-wait-timeout shows.
            hint = "another session locks a table, or waits for a lock: try again when it is over"
        elif RECOVERY_CONFLICT in self.messages.summary():
            hint = RECOVERY_CONFLICT_HINT
        return ClientToolFailed(
            f"`{self.name}` ended with {how}: {self.messages.summary()}",
            hint=hint,
            lost_connection=any(map(_LOST.search, self.messages.lines())),
        )

    def stop(self) -> None:
        """Let it and its workers end, if it still runs; any thread may ask for it.

        What does not heed a SIGTERM for a while (`pg_dump` first asks the server, which may be
        silent) is killed.
        """
        for stop in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                break
            with suppress(ProcessLookupError):
                # A session of its own: the group is the program with its workers.
                os.killpg(self.process.pid, stop)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_PATIENCE)

    def end(self) -> None:
        """Stop it, and close its pipes; it is gone afterwards."""
        self.stop()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self.messages.wait()


@contextmanager
def running(
    command: Sequence[str],
    *,
    variables: Mapping[str, str],
    redact: Redact,
    reads: bool = False,
    writes: bool = False,
) -> Iterator[ChildProcess]:
    """Start a program and end it with the block, however the block ends.

    `reads` gives it a pipe for its input, `writes` one for its output. It runs in a session of its
    own: an interrupt from the terminal reaches us, and we end it. Raises ClientToolsMissing where
    it cannot be started.
    """
    try:
        process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE if writes else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ClientToolsMissing(f"`{command[0]}` cannot be started: {error.strerror}") from error
    if process.stderr is None:
        raise AssertionError("a pipe was asked for")
    name = os.path.basename(command[0])  # noqa: PTH119 - a string it is
    child = ChildProcess(process, name, Messages(process.stderr, name, redact))
    try:
        yield child
    finally:
        child.end()
