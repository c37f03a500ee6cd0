"""What is asked of the copying out of a database, and what comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alexandria_backup.archive.contents import RowSink
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.base_archive import BaseArchive
from alexandria_backup.copying.frames import TableFrames
from alexandria_backup.copying.looking import Look
from alexandria_backup.copying.plan import USUAL, Framing
from alexandria_backup.copying.storing import OpenShelf
from alexandria_backup.copying.takeover import Reference
from alexandria_backup.events import Emit
from alexandria_backup.postgres.client_tools import ClientTools
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.repository.manifest_parts import (
    FramePart,
    OriginPart,
    StoredPart,
    TablePart,
)
from alexandria_backup.repository.part_sealing import PartSealing


@dataclass(frozen=True, kw_only=True)
class CopyRequest:
    """What is copied out, where to, and what may be taken over."""

    dsn: Dsn
    timeouts: Timeouts
    tools: ClientTools
    #: Workers at once.
    jobs: int
    #: Makes the keyed digests of fingerprints.
    sealing: PartSealing
    open_shelf: OpenShelf
    #: None where all is to be read.
    reference: Reference | None
    #: Tells why a stored part may not be taken over; None where it may.
    objection_to_part: Callable[[StoredPart], str | None]
    #: Is asked for each table in the base archive, and may return who sees its rows.
    watch: Callable[[TocEntry], RowSink | None]
    #: Is told of each frame that was read, when it is stored.
    stored: Callable[[TableFrames, FramePart], None]
    #: Looks at the database in the snapshot's own transaction, after all was copied; it is told
    #: of the framed tables, and so of what has changed.
    look: Callable[[Session, Sequence[TablePart]], None]
    #: Looks at it beside the copying where processes read, which then read for it as well; None
    #: where all that is to be seen is what has changed.
    look_beside: Look | None = None
    emit: Emit
    framing: Framing = USUAL
    #: Copy what runs have put aside in the database, too.
    with_aside: bool = False


@dataclass(frozen=True, kw_only=True)
class CopiedDatabase:
    """What was copied out: all that a manifest needs to know of it."""

    origin: OriginPart
    base: BaseArchive
    #: The framed tables.
    tables: tuple[TablePart, ...]
    #: COPY text of frames that was read, and bytes that had to be stored for it.
    read_bytes: int
    new_bytes: int
    #: Why nothing could be taken over; None where something could, or there was no reference.
    objection: str | None
