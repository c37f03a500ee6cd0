"""The switch that `restore` and `rollback` share: what its steps know of the two databases."""

from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from alexandria_backup.errors import (
    PrecheckRefused,
)
from alexandria_backup.platforms.license import LicenseReport
from alexandria_backup.postgres.database import DatabaseFacts
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.postgres.shadow import Marker
from alexandria_backup.runbooks.servers import Servers
from alexandria_backup.runbooks.stopping import StoppingState


class DatabaseRef(BaseModel):
    """A database as the server knows it: names change in a swap, the OID does not."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    oid: int


class SwitchState(StoppingState):
    """What the steps of a switch need to know."""

    #: The name that the application uses.
    target: str
    #: The database of that name before the switch; None where there was none.
    live: DatabaseRef | None = None
    #: The database that takes the name over.
    incoming: DatabaseRef | None = None
    #: The name that the replaced database gets.
    kept_name: str = ""
    #: What the incoming database gets besides its rows: owner, settings, grants, comment.
    facts: DatabaseFacts | None = None
    #: True where the incoming database gets what the live one has when it is swapped out, and
    #: False where it keeps what it has itself.
    inherits: bool = False
    #: The marker of the kept database that comes in; None where a shadow does.
    incoming_marker: Marker | None = None
    #: The server's `system_identifier`, where the role may read it.
    server: int | None = None
    #: Subscriptions that were enabled in the live database before it was fenced.
    subscriptions: tuple[str, ...] = ()
    #: The licence before the switch, to compare with afterwards.
    license: LicenseReport | None = None
    #: What was put aside in the database itself, as `schema name`: nothing where databases are
    #: exchanged.
    aside: tuple[str, ...] = ()

    @property
    def works_in_place(self) -> bool:
        """Whether the contents of one database are exchanged, and not two databases."""
        return False

    @property
    def suffix(self) -> str:
        """What the names end with that this run gives."""
        return self.run.rpartition("-")[2]


def refuse_other_server(servers: Servers, state: SwitchState) -> None:
    """Raise PrecheckRefused where a run would go on against another server or database.

    OIDs are the truth of a run, and a copy of the server has the same ones.
    """
    if servers.database != state.target:
        raise PrecheckRefused(
            f"run `{state.run}` works on `{state.target}`, and the DSN names `{servers.database}`",
            hint="give the DSN that the run was started with",
        )
    with servers.maintenance() as maintenance:
        found = server_facts(maintenance).system_identifier
    if None not in {found, state.server} and found != state.server:
        raise PrecheckRefused(
            f"run `{state.run}` was started on another server (system identifier {state.server}; "
            f"this one has {found})",
            hint="give the DSN that the run was started with",
        )


def usable(facts: DatabaseFacts, comment: str | None) -> DatabaseFacts:
    """Return the facts of a database that is to be used again: open, and with its own comment."""
    return replace(facts, comment=comment, allow_connections=True)
