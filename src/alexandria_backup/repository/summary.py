"""What a repository is, in a few lines: for `repository info`."""

from dataclasses import dataclass
from datetime import UTC, datetime

from alexandria_backup.repository.layout import LEASES, Kind, parse
from alexandria_backup.repository.leases import LIFETIME
from alexandria_backup.repository.objects import objects_present
from alexandria_backup.repository.opened import Repository


@dataclass(frozen=True, kw_only=True)
class NewestSnapshot:
    """The newest snapshot, good or bad."""

    id: str
    created: datetime
    #: `stored`, `read back`, `drilled` or `damaged`.
    status: str


@dataclass(frozen=True, kw_only=True)
class RepositorySummary:
    """What a repository is and holds."""

    url: str
    id: str
    created: datetime
    #: `age1…`; empty where it is not encrypted.
    recipients: tuple[str, ...]
    #: `name+id+base64`; empty where it is not signed.
    trusted_keys: tuple[str, ...]
    #: Why this machine may not write there; None where it may.
    read_only: str | None
    snapshots: int
    newest: NewestSnapshot | None
    objects: int
    bytes: int
    #: The ledger's heads: whoever keeps them elsewhere sees when the newest entries vanish.
    heads: tuple[str, ...]
    #: Leases that are renewed: somebody is at work.
    in_use: int
    notes: tuple[str, ...]


def summarise(repository: Repository) -> RepositorySummary:
    """Look at a repository; raises StorageError."""
    entries = repository.snapshots.all()
    present = objects_present(repository.store)
    heads = repository.ledger.heads()
    notes = [
        f"the ledger lacks the entry `{head[:12]}…`, which this machine has seen"
        for head in repository.lost_heads()
    ]
    last = entries[-1] if entries else None
    refusal = repository.settled.refusal
    return RepositorySummary(
        url=repository.store.url,
        id=repository.id,
        created=repository.description.created,
        recipients=tuple(str(recipient) for recipient in repository.recipients),
        trusted_keys=tuple(str(key) for key in repository.trusted),
        read_only=refusal.message if refusal else None,
        snapshots=len(entries),
        newest=NewestSnapshot(id=last.id, created=last.created, status=last.status)
        if last
        else None,
        objects=len(present),
        bytes=sum(present.values()),
        heads=heads,
        in_use=_live_leases(repository),
        notes=tuple(notes),
    )


def _live_leases(repository: Repository) -> int:
    """Count leases by this machine's clock: this only reads, so the store's is not known."""
    now = datetime.now(UTC)
    return sum(
        now - info.modified <= LIFETIME
        for info in repository.store.list(LEASES)
        if parse(info.name).kind is Kind.LEASE
    )
