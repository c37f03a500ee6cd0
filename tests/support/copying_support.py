"""A desk to take snapshots at, without the runbook: the engine alone, on durable servers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from alexandria_backup.copying.copy_request import CopiedDatabase, CopyRequest
from alexandria_backup.copying.plan import Framing
from alexandria_backup.copying.snapshot_archive import SnapshotArchive
from alexandria_backup.copying.take_snapshot import copy_database
from alexandria_backup.copying.takeover import Reference
from alexandria_backup.events import Event
from alexandria_backup.postgres.client_tools import find_client_tools
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.startup import Timeouts
from alexandria_backup.repository.manifest_parts import ArchivePart, FramePart, TablePart
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.part_sealing import PartSealing
from alexandria_backup.storage.local import LocalStore

#: What a server needs for its history to be trusted; a crash is then a crash like any other.
DURABLE = {
    "fsync": "on",
    "wal_sync_method": "fdatasync",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "autovacuum": "off",
    "max_prepared_transactions": "10",
    "wal_level": "replica",
}
SEALING = PartSealing(recipients=(), digest_key=b"k" * 32)
#: Small, so that a test's few rows become many frames.
SMALL = Framing(above_bytes=0, most_pages=4, frame_bytes=64 * 1024)


def shelf_in(folder: Path) -> ObjectShelf:
    return ObjectShelf(LocalStore(folder), SEALING)


def _nothing(*_: object) -> None:
    """Neither object nor watch nor be told."""


@dataclass
class Desk:
    """Takes snapshots of one database into one folder."""

    dsn: Dsn
    major: int
    folder: Path
    framing: Framing = SMALL
    jobs: int = 1
    events: list[Event] = field(default_factory=list)

    def take(
        self,
        reference: CopiedDatabase | None = None,
        *,
        look: Callable[[Session, Sequence[TablePart]], None] = _nothing,
        **changes: Any,
    ) -> CopiedDatabase:
        fields: dict[str, Any] = {
            "dsn": self.dsn,
            "timeouts": Timeouts(lock=2),
            "tools": find_client_tools(self.major),
            "jobs": self.jobs,
            "sealing": SEALING,
            "open_shelf": partial(shelf_in, self.folder),
            "reference": as_reference(reference) if reference else None,
            "objection_to_part": _nothing,
            "watch": _nothing,
            "stored": _nothing,
            "look": look,
            "emit": self.events.append,
            "framing": self.framing,
        }
        return copy_database(CopyRequest(**{**fields, **changes}))

    def text(self, frame: FramePart) -> bytes:
        shelf = shelf_in(self.folder)
        return b"".join(shelf.get(part) for part in frame.parts)

    def sql(self, statements: str) -> list[tuple[Any, ...]]:
        """Run statements as an application would, each by itself; return the last one's rows."""
        with psycopg.connect(self.dsn.conninfo().reveal(), autocommit=True) as connection:
            rows: list[tuple[Any, ...]] = []
            for statement in statements.split(";\n"):
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
            return rows


def archive_of(desk: Desk) -> SnapshotArchive:
    copied = desk.take()
    base = copied.base.read
    return SnapshotArchive(
        name="a-snapshot",
        archive=ArchivePart(
            name=None,
            bytes=base.bytes,
            sha256=base.sha256,
            compression="none",
            encoding=base.encoding,
            parts=copied.base.parts,
        ),
        tables=copied.tables,
        open_shelf=partial(shelf_in, desk.folder),
    )


def as_reference(copied: CopiedDatabase) -> Reference:
    tables = {table.framed.oid: table.framed for table in copied.tables if table.framed}
    return Reference(snapshot="earlier", origin=copied.origin, tables=tables)


def frames(copied: CopiedDatabase, table: str) -> tuple[FramePart, ...]:
    part = next(part for part in copied.tables if part.name == table)
    assert part.framed is not None
    return part.framed.frames


def taken_over(copied: CopiedDatabase, table: str) -> list[bool]:
    return [frame.taken_from is not None for frame in frames(copied, table)]
