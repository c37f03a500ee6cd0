"""What an entry of the ledger says."""

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Final, Literal

from alexandria_backup.repository.access import Owned
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.manifest_parts import Count, Instant, PlainName, Sha256Hex


class Action(StrEnum):
    """What happened."""

    #: The repository was made.
    INIT = "init"
    #: Recipients or trusted keys are others from now on.
    KEYS = "key change"
    #: A snapshot was completed.
    SNAPSHOT = "snapshot"
    #: A snapshot's manifest was taken back, since what it names was being swept.
    WITHDRAWN = "withdrawn"
    #: Somebody removed snapshots, and gave a reason.
    DELETE = "delete"
    #: Retention removed snapshots, by a rule, and what nobody needs any more.
    PRUNE = "prune"
    VERIFY = "verify"
    DRILL = "drill"
    RESTORE = "restore"
    #: Audit rows were captured.
    CAPTURE = "capture"


#: After these a snapshot is rightly not there.
REMOVALS: Final = frozenset({Action.WITHDRAWN, Action.DELETE, Action.PRUNE})


class LedgerEntry(Owned):
    """One thing that happened, and everything its writer knew to have happened before."""

    role: Literal["ledger entry"] = "ledger entry"
    format: Literal[1] = 1
    action: Action
    #: By the clock of the machine that wrote it.
    at: Instant
    #: The snapshots it is about.
    snapshots: tuple[PlainName, ...]
    #: Of a removal: the rule or the reason; kept for good.
    reason: str | None
    #: Whatever else is worth keeping, such as `objects` and `bytes` that were swept.
    details: dict[str, str]
    #: Digests of every entry that no other entry named when this one was written.
    heads: tuple[Sha256Hex, ...]
    #: How many entries there were then.
    entries: Count
    tool: str
    host: str
    pid: Count
    #: The run that did it; None where no run is journalled.
    run: str | None


FORM: Final = Form(role="ledger entry", model=LedgerEntry, version=1, largest=1 << 22)


def new_entry(
    repository: str,
    action: Action,
    *,
    snapshots: tuple[str, ...],
    reason: str | None,
    details: Mapping[str, str],
    heads: tuple[str, ...],
    entries: int,
    run: str | None,
) -> LedgerEntry:
    """Return an entry of here and now."""
    return LedgerEntry(
        repository=repository,
        action=action,
        at=datetime.now(UTC),
        snapshots=snapshots,
        reason=reason,
        details=dict(details),
        heads=heads,
        entries=entries,
        tool=version("alexandria-backup"),
        host=socket.gethostname(),
        pid=os.getpid(),
        run=run,
    )
