"""What a snapshot into a repository is asked for and has found out: what its journal carries."""

from datetime import datetime

from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.runbooks.chain_reader import ChainSeen
from alexandria_backup.runbooks.step import RunState


class RepositorySnapshotState(RunState):
    """The state of a snapshot into a repository."""

    database: str
    application: str
    kind: SnapshotKind
    note: str | None = None
    #: Read everything, and store it anew.
    full: bool = False
    #: With what runs have put aside in the database.
    with_aside: bool = False
    #: The repository's place.
    store: str
    #: Whether the schema of markers may be made; None to leave things as they are.
    own_schema: bool | None = None
    snapshot: str = ""
    #: By the database server's clock.
    created: datetime | None = None
    #: The earlier snapshot that frames are taken over from, and why none could be.
    reference: str | None = None
    objection: str | None = None
    tables: int = 0
    rows: int = 0
    #: COPY text of frames that was read, and bytes that had to be stored for it.
    read_bytes: int = 0
    new_frame_bytes: int = 0
    #: The same with the base archive, which is dumped each time.
    new_bytes: int = 0
    #: Of all objects that the snapshot needs.
    bytes: int = 0
    frames_read: int = 0
    frames_taken: int = 0
    #: The ledger's head afterwards: whoever keeps it elsewhere sees when entries vanish.
    head: str | None = None
    chain: ChainSeen | None = None
