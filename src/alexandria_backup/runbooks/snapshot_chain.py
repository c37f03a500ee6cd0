"""The audit chain of a database that is being copied out: verified as far as it has changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from alexandria_backup.audit.parallel import Readers
from alexandria_backup.events import Emit
from alexandria_backup.postgres.connect import Session
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import TablePart
from alexandria_backup.runbooks.anchors import appended_since
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.snapshot_harvest import Harvest


@dataclass(frozen=True, kw_only=True)
class ChainLook:
    """Looks at the chain within the snapshot, once; the report goes to the harvest."""

    chain: ChainReader
    harvest: Harvest
    #: The snapshot that frames are taken over from.
    reference: Manifest | None
    emit: Emit

    def at_everything(self, session: Session, readers: Readers) -> None:
        """Verify the whole chain, while frames are read."""
        self.harvest.report = self.chain.within(session, self.emit, readers=readers)
        self.harvest.looked = True

    def at_what_changed(self, session: Session, tables: Sequence[TablePart]) -> None:
        """Verify what is new since the reference; what was taken over from there was then."""
        if self.harvest.looked:
            return
        table = self.chain.find(session)
        appended = None if table is None else appended_since(self.reference, tables, str(table))
        self.harvest.report = self.chain.within(session, self.emit, appended)
