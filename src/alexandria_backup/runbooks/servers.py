"""The database server of a run: which sessions a procedure opens, and with whose rights."""

from dataclasses import dataclass

from alexandria_backup.errors import DatabaseMissing
from alexandria_backup.postgres.connect import Session, connect
from alexandria_backup.postgres.database import database_facts
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.startup import Timeouts

#: Databases that every server has, and that nobody restores.
_MAINTENANCE = ("postgres", "template1")


@dataclass(frozen=True, kw_only=True)
class Servers:
    """One server, seen with the application's rights and with an administrator's."""

    #: The application's own DSN; names the live database.
    application: Dsn
    #: Another role for what the application's role may not do; names the maintenance database.
    administrator: Dsn | None
    timeouts: Timeouts

    @property
    def database(self) -> str:
        """The name of the live database."""
        return self.application.database

    @property
    def privileged(self) -> Dsn:
        """The DSN whose role does the work: the administrator's where there is one."""
        return self.administrator or self.application

    def maintenance(self) -> Session:
        """Open a session on the maintenance database: a fenced database accepts nobody."""
        named = (self.administrator.database,) if self.administrator is not None else ()
        # Never the live database: it is to be fenced and renamed.
        *others, last = (n for n in (*named, *_MAINTENANCE) if n != self.database)
        for name in others:
            try:
                return self.open(name, "maintenance")
            except DatabaseMissing:
                continue
        return self.open(last, "maintenance")

    def session(self, database: str, purpose: str = "run") -> Session:
        """Open a session on `database` with the rights that the work needs."""
        return self.open(database, purpose)

    def as_application(self, database: str) -> Session:
        """Open a session on `database` as the application would."""
        return connect(
            self.application.with_database(database), purpose="proof", timeouts=self.timeouts
        )

    def accepts_connections(self, maintenance: Session, database: str) -> bool:
        """Tell whether `database` exists and is not fenced."""
        facts = database_facts(maintenance, database)
        return facts is not None and facts.allow_connections

    def open(self, database: str, purpose: str) -> Session:
        """Open a session on `database`; every session of a run comes through here."""
        return connect(
            self.privileged.with_database(database), purpose=purpose, timeouts=self.timeouts
        )
