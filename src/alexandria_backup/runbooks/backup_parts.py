"""What the steps of a backup work with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from alexandria_backup.bundle.pack import PackOptions
from alexandria_backup.events import Emit
from alexandria_backup.sealing.encryption import Identity, Recipient
from alexandria_backup.storage.store import ObjectStore


@dataclass(frozen=True, kw_only=True)
class BackupParts:
    """What the steps of a backup work with."""

    sets: Mapping[str, Sequence[str]]
    #: Of these paths and patterns, those that must lead to something.
    required: tuple[str, ...]
    options: PackOptions
    #: None where the bundle goes to standard output.
    store: ObjectStore | None
    stdout: BinaryIO | None
    recipients: tuple[Recipient, ...]
    #: Opens what is sealed, to read it back.
    identities: Callable[[], tuple[Identity, ...]]
    application: str
    #: Returns the newest snapshot's id; None where there is none.
    snapshot: Callable[[], str | None]
    emit: Emit
