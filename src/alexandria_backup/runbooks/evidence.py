"""Capturing evidence and retiring rows, with what the server and this machine say of themselves."""

import os
import pwd
import socket
from dataclasses import dataclass
from importlib.metadata import version

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.capture import CaptureFacts, OpenedCapture, seal
from alexandria_backup.audit.discovery import AuditTable
from alexandria_backup.audit.evidence import collect
from alexandria_backup.audit.key import AuditKey, KeyRing
from alexandria_backup.audit.report import FORGED_TAIL
from alexandria_backup.audit.retire import (
    Retired,
    plan,
    refuse_other_place,
    refuse_other_rows,
    retire,
)
from alexandria_backup.audit.verify import try_key
from alexandria_backup.errors import AuditUnverified
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.sealing.signing import SigningKey

#: What a capture cannot show; every one says so.
_LIMITS = (
    FORGED_TAIL,
    "it shows what the database held when it was made, and not who changed it, or when",
    "time and names are those of the database server and of the machine it was made on",
)


@dataclass(frozen=True, kw_only=True)
class Custody:
    """Evidence on one database: who asks, and what it is signed with."""

    chain: ChainReader
    application: str
    #: None: the user of this process.
    operator: str | None
    reason: str

    def capture(
        self,
        session: Session,
        *,
        key: SigningKey,
        anchors: list[Anchor],
        through: str | None,
    ) -> bytes:
        """Return the capture; raises what `collect` raises."""
        table = self.chain.required(session)
        found = collect(
            session,
            table=table,
            recipe=self.chain.recipe,
            key=self.chain.key,
            anchors=anchors,
            through=through,
        )
        facts = server_facts(session)
        made = CaptureFacts(
            application=self.application,
            database=session.dsn.database,
            system_identifier=facts.system_identifier,
            server_version=f"PostgreSQL {facts.version}",
            table=str(table),
            recipe=f"{self.chain.recipe.name}, version {self.chain.recipe.version}",
            at=facts.now,
            operator=self.operator or _user(),
            host=socket.gethostname(),
            tool=f"alexandria-backup {version('alexandria-backup')}",
            reason=self.reason,
            scope=found.scope,
            status=str(found.report.status),
            summary=found.report.summary(),
            rows=len(found.rows),
            rows_digest=found.digest,
            head=found.head,
            limits=_LIMITS,
        )
        return seal(
            made, rows=found.rows, neighbours=found.neighbours, report=found.report, key=key
        )

    def plan(self, session: Session, capture: OpenedCapture) -> Retired:
        """Check everything that `retire` checks, and say what it would do."""
        table = self.chain.required(session)
        refuse_other_place(session, table, capture)
        refuse_other_rows(session, table, self.chain.recipe, capture)
        return plan(table, capture)

    def retire(self, session: Session, capture: OpenedCapture) -> Retired:
        """Move the captured rows; raises what `audit.retire` raises."""
        table = self.chain.required(session)
        return retire(
            session,
            table=table,
            recipe=self.chain.recipe,
            key=self._sealing_key(session, table),
            capture=capture,
            operator=self.operator or _user(),
            reason=self.reason,
        )

    def _sealing_key(self, session: Session, table: AuditTable) -> bytes:
        """Return the key that seals new rows: the reading that fits the rows there are."""
        key = self.chain.key
        current = key.keys[-1] if isinstance(key, KeyRing) else key
        fit = try_key(session, recipe=self.chain.recipe, key=key, table=table)
        if current is None or not fit.good:
            raise AuditUnverified(
                f"a row that records the retirement must be sealed, and {fit.message}",
                hint=fit.hint,
            )
        return _reading(current, fit.encoding)


def _reading(key: AuditKey, encoding: str | None) -> bytes:
    readings = dict(key.reveal())
    return readings.get(encoding or "", next(iter(readings.values())))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
