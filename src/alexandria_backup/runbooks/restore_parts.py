"""What the steps of a restore work with."""

from collections.abc import Callable
from dataclasses import dataclass

from alexandria_backup.events import Emit
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.runbooks.accept import SafetyTaker
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.check_queries import CheckQueries
from alexandria_backup.runbooks.places import SnapshotPlace
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.switch_application import Application


@dataclass(frozen=True, kw_only=True)
class RestoreParts:
    """What the steps of a restore work with."""

    servers: Servers
    application: Application
    #: Where the snapshot is.
    place: SnapshotPlace
    chain: ChainReader
    #: Client tools that fit a server's major version.
    tools: Callable[[int], ClientTools]
    #: Takes the safety snapshot; None where no repository is set.
    safety: SafetyTaker | None
    #: Queries that return true if the restored data are good.
    checks: CheckQueries
    #: Bytes free on the server, where it cannot be measured from here.
    server_free_bytes: int | None
    #: Bytes that must stay free on the server.
    server_reserve_bytes: int = 0
    #: Memory of the server's machine, where it cannot be measured from here.
    server_memory_bytes: int | None = None
    fence_patience_s: float
    #: What is typed to begin anew where what is read has changed, given the run.
    anew: Callable[[str], str] = lambda run: f"alexandria run abort {run}   # then start anew"
    emit: Emit
