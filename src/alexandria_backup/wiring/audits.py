"""Verifying the application's audit chain, where it lives and in snapshots."""

from dataclasses import dataclass

from alexandria_backup.audit.report import AuditReport
from alexandria_backup.runbooks.chain_reader import ChainSeen, require
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms


@dataclass(frozen=True, kw_only=True)
class Audits:
    """What `alexandria audit` does, and what other commands ask of the chain."""

    rooms: Rooms
    places: Places

    def verify(self, name: str | None) -> AuditReport | None:
        """Verify the audit chain of the live database, or of a snapshot; None where is none."""
        if name is None:
            with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
                return self.rooms.chain.live(session)
        location, archive = self.places.locate(name)
        source = self.places.place(location).archive(archive)
        return self.rooms.chain.archive(source, self.rooms.emit)[1]

    def require(self, seen: ChainSeen | None, where: str) -> None:
        """Raise AuditBroken or AuditUnverified as `[audit] required` says."""
        require(seen, required=self.rooms.settings.audit.required, where=where)
