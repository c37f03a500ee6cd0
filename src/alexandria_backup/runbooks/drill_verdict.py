"""What a drill has found: of the snapshot, or of itself; and how that is kept, signed.

A failure counts against the snapshot only where it is the snapshot's. Whatever else stops a drill
leaves it inconclusive: nothing is known then, and nothing is kept.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from alexandria_backup.errors import (
    AlexandriaError,
    ChecksFailed,
    ClientToolFailed,
    ConnectionLost,
    DrillInconclusive,
    Interrupted,
    ProofFailed,
    SnapshotDamaged,
    StatementFailed,
    StorageError,
    UsageError,
    WrongKey,
)
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.postgres.sqlstates import INSUFFICIENT_PRIVILEGE
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.examining import Bad
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.rehashing import damaged_objects
from alexandria_backup.repository.results import BY_CHECKS, FAILED_BY, Examination
from alexandria_backup.runbooks.drill_server import DrillServer, is_alive
from alexandria_backup.runbooks.kept_result import keep_result

#: Classes of SQLSTATEs that are about a server and not about what is loaded into it: connection,
#: what it was not built for, resources, an operator's intervention, system, internal.
_OF_THE_SERVER: Final = frozenset({"08", "0A", "53", "57", "58", "XX"})
#: The same in what `pg_restore` says, which hands on no SQLSTATE. Locales, compression and
#: libraries belong to the machine, and are in no archive.
_SAID_OF_THE_SERVER: Final = re.compile(
    r"ended with signal|No space left on device|out of (shared )?memory|too many clients"
    r"|server closed the connection|could not connect|connection to server|terminating connection"
    r"|not supported (in|by) this build|compression method \S+ not supported"
    r"|unsupported XML feature|could not create locale|No such file or directory"
    r"|collation \S+ for encoding \S+ does not exist|must be preloaded|shared_preload_libraries",
    re.IGNORECASE,
)
#: What a role of a given server is told that may not do all that the snapshot's did.
_SAID_OF_RIGHTS: Final = re.compile(
    r"permission denied|must be (superuser|owner|member|able to)", re.IGNORECASE
)
#: As in `invalid input syntax for type integer: "…"`, and `value "…" is out of range`.
_VALUE: Final = re.compile(r'(: |\bvalue )"(?:[^"]|"")*"')
#: What is told as it is: the snapshot's fault, the operator's will, or a mistake in a setting.
_TOLD_AS_IT_IS: Final = (SnapshotDamaged, ProofFailed, DrillInconclusive, Interrupted, UsageError)


@contextmanager
def judged(server: DrillServer, what: str, *, unlike: Sequence[str] = ()) -> Iterator[None]:
    """Turn a refusal of the server into a finding on the snapshot, where it is one.

    `unlike` says how the server differs from the source's: a refusal shows nothing then. Raises
    ProofFailed, DrillInconclusive, or what is neither as it comes.
    """
    try:
        yield
    except ConnectionLost as error:
        raise inconclusive(error) from error
    except (ClientToolFailed, StatementFailed) as error:
        if _is_the_servers(error, own=server.own) or not is_alive(server):
            raise inconclusive(error) from error
        if unlike:
            raise DrillInconclusive(
                f"{what}, which shows nothing, since this server is not as the source: "
                f"{'; '.join(unlike)}: {error.message}",
                hint="set `[drill] dsn_file` to the DSN of a server that has what the source has",
            ) from error
        raise ProofFailed(f"{what}: {error.message}", hint=error.hint) from error


def _is_the_servers(error: ClientToolFailed | StatementFailed, *, own: bool) -> bool:
    """Tell whether it says nothing of the snapshot; on a server of our `own` we may do anything."""
    if isinstance(error, StatementFailed):
        refused = error.sqlstate == INSUFFICIENT_PRIVILEGE
        of_the_server = error.sqlstate is None or error.sqlstate[:2] in _OF_THE_SERVER
    else:
        refused = _SAID_OF_RIGHTS.search(error.message) is not None
        of_the_server = _SAID_OF_THE_SERVER.search(error.message) is not None
    return of_the_server or (refused and not own)


def as_told(error: AlexandriaError) -> AlexandriaError:
    """Return what a drill ends with: the error itself where it tells of the snapshot."""
    return error if isinstance(error, _TOLD_AS_IT_IS) else inconclusive(error)


def inconclusive(error: AlexandriaError) -> DrillInconclusive:
    """Return the same as a drill that shows nothing."""
    return DrillInconclusive(
        f"the drill could not run, so nothing is known: {error.message}", hint=error.hint
    )


def _without_values(message: str) -> str:
    """Leave out the values that a server's message quotes, as far as they can be told from names.

    It puts them behind a colon or the word itself. The result is kept in the open, also where the
    repository is encrypted.
    """
    return _VALUE.sub(r'\1"…"', message)


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Keeps what drills of one snapshot find; a plain folder keeps nothing."""

    repository: Repository | None
    entry: SnapshotEntry
    run: str
    emit: Emit

    def good(self, details: dict[str, str]) -> bool:
        """Keep that all was as the manifest says; tell whether it is kept."""
        return self._keep((), None, details)

    def bad(self, error: AlexandriaError) -> bool:
        """Keep what was wrong, and which objects are to blame; tell whether it is kept."""
        bad: tuple[Bad, ...] = ()
        if isinstance(error, SnapshotDamaged) and self.repository is not None:
            # What cannot be read again now is not known to be bad.
            with suppress(StorageError):
                bad = damaged_objects(self.repository, self.entry)
        by = {FAILED_BY: BY_CHECKS} if isinstance(error, ChecksFailed) else {}
        return self._keep(bad, _without_values(error.message), by)

    def _keep(self, bad: tuple[Bad, ...], problem: str | None, details: dict[str, str]) -> bool:
        if self.repository is None:
            self.emit(Note(message="the result is not kept: only a repository keeps results"))
            return False
        kept = keep_result(
            self.repository,
            self.entry,
            Examination.DRILLED,
            bad,
            self.emit,
            problem=problem,
            details={"run": self.run, **details},
        )
        if kept:
            self._tell_ledger(problem, details)
        return kept

    def _tell_ledger(self, problem: str | None, details: dict[str, str]) -> None:
        """The result is what counts: the ledger's failure must not hide it."""
        if self.repository is None:
            return
        try:
            head = self.repository.ledger.append(
                Action.DRILL,
                snapshots=(self.entry.id,),
                reason=problem,
                details={"good": str(problem is None).lower(), **details},
                run=self.run,
            )
            self.repository.remember((head,))
        except (StorageError, WrongKey) as error:
            self.emit(Warned(message=f"the ledger does not tell of the drill: {error.message}"))
