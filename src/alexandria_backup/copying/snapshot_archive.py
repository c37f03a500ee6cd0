"""A repository's snapshot as one archive: what pg_dump would have written, had it written all.

Verifying, exporting, restoring and drilling all read through here, so that what one of them has
read, the others can read. Every part is checked before a byte of it goes on; rows are counted
against the manifest as they pass.
"""

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

from alexandria_backup.archive.injection import FramedTable, places_by_oid
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.schema_archive import schema_archive
from alexandria_backup.archive.toc import Compression
from alexandria_backup.archive.writer import ArchiveWriter
from alexandria_backup.copying.archive_source import (
    COMPRESSORS,
    ArchiveApart,
    RowsApart,
    TableApart,
)
from alexandria_backup.copying.part_queue import PartReaders
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.repository.keyed_digests import may_be_same
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import (
    ArchivePart,
    FramedPart,
    FramePart,
    StoredPart,
    TablePart,
)
from alexandria_backup.repository.objects import ObjectShelf, OpenedPart
from alexandria_backup.sealing.digests import Sha256Tee
from alexandria_backup.sealing.encryption import Identity


@dataclass(frozen=True, kw_only=True)
class SnapshotArchive:
    """The archive of one snapshot, as an `ArchiveSource`; each time it is read it is the same.

    Memory: a few parts for each thread.
    """

    #: The snapshot's id.
    name: str
    #: What the manifest says of base archive and tables.
    archive: ArchivePart
    tables: tuple[TablePart, ...]
    #: Opens a shelf for one thread; it must have been told where to find the objects.
    open_shelf: Callable[[], ObjectShelf]
    #: Who can open the parts, besides this process itself.
    identities: tuple[Identity, ...] = field(default=(), repr=False)
    #: What keyed digests can be compared under; None where this machine has no key.
    digest_key: bytes | None = field(default=None, repr=False)
    #: That read parts at once.
    threads: int = 4

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        *,
        open_shelf: Callable[[], ObjectShelf],
        identities: tuple[Identity, ...] = (),
        digest_key: bytes | None = None,
    ) -> "SnapshotArchive":
        """Return the archive that a manifest describes."""
        return cls(
            name=manifest.snapshot,
            archive=manifest.archive,
            tables=manifest.tables,
            open_shelf=open_shelf,
            identities=identities,
            digest_key=digest_key,
        )

    @property
    def identity(self) -> str:
        """SHA-256 of what the manifest says: it names every part by its own digest."""
        said = sha256(self.archive.model_dump_json().encode())
        for table in self.tables:
            said.update(table.model_dump_json().encode())
        return said.hexdigest()

    def only(self, tables: Collection[str]) -> "SnapshotArchive":
        """Return the archive without the frames of other tables; small tables stay."""
        return replace(
            self,
            tables=tuple(t for t in self.tables if f"{t.schema_name}.{t.name}" in tables),
        )

    def local_path(self) -> None:
        """Return None: it exists only while it is read."""

    def require_present(self) -> None:
        """Look for each object in a listing that the shelf brings along, or ask for each."""
        shelf = self.open_shelf()
        for part in (*self.archive.parts, *(p for table in self._framed() for p in table.parts)):
            if not shelf.is_present(part):
                raise SnapshotDamaged(
                    f"object `{object_name(part.object)}` of `{self.name}` is missing, or has not "
                    f"the {part.bytes:,} bytes that were stored",
                    hint="alexandria repository check   # then choose another snapshot",
                )

    def size(self) -> int:
        """Return the bytes of base archive and frames: the whole archive has a little more."""
        framed = (part for table in self._framed() for part in table.parts)
        return self.archive.bytes + sum(part.raw_bytes for part in framed)

    def chunks(self) -> Generator[bytes]:
        """Yield the archive, uncompressed, from front to back.

        Raises SnapshotDamaged, which names the object or the table, where anything is not what the
        manifest says; WrongKey and StorageError as `ObjectShelf.get` does.
        """
        with self.writer() as writer:
            yield from writer.stream()

    @contextmanager
    def writer(
        self, *, compression: Compression = Compression.NONE, format_minor: int | None = None
    ) -> Iterator[ArchiveWriter]:
        """Give what writes the archive in another form; raises as `chunks`.

        Raises PrecheckRefused where the archive cannot be written so.
        """
        with PartReaders(self.open_shelf, self.identities, threads=self.threads) as readers:
            base = ArchiveReader(self._base(readers))
            if base.encoding != self.archive.encoding:
                raise SnapshotDamaged(f"the base archive of `{self.name}` has another encoding")
            places = places_by_oid(base.raw_entries)
            # Parts are read ahead in the order in which the writer will ask for them.
            tables = sorted(self._framed(), key=lambda table: places.get(table.oid, 0))
            opened = readers.in_order(part for table in tables for part in table.parts)
            yield ArchiveWriter(
                base,
                [table.written_from(opened) for table in tables],
                compression=compression,
                format_minor=format_minor,
                compressors=COMPRESSORS,
            )

    @contextmanager
    def apart(self) -> Iterator[ArchiveApart]:
        """Give base archive and tables, for a load by several sessions at once."""
        with PartReaders(self.open_shelf, self.identities, threads=self.threads) as readers:
            base = ArchiveReader(self._base(readers))
            yield ArchiveApart(
                schema=schema_archive(base),
                encoding=base.encoding,
                base=lambda: self._base(readers),
                tables=tuple(table.apart(readers) for table in self._framed()),
            )

    def _base(self, readers: PartReaders) -> Iterator[bytes]:
        tee = Sha256Tee(opened.raw for _, opened in readers.in_order(self.archive.parts))
        yield from tee
        if not may_be_same(self.archive.sha256, tee.hexdigest(), self.digest_key):
            raise SnapshotDamaged(f"the parts of the base archive of `{self.name}` do not make it")

    def _framed(self) -> list["_Table"]:
        return [
            _Table(label=f"{table.schema_name}.{table.name}", framed=table.framed)
            for table in self.tables
            if table.framed is not None
        ]


@dataclass(frozen=True, kw_only=True)
class _Table:
    label: str
    framed: FramedPart

    @property
    def oid(self) -> int:
        return self.framed.oid

    @property
    def parts(self) -> Iterator[StoredPart]:
        for frame in self.framed.frames:
            yield from frame.parts

    def apart(self, readers: PartReaders) -> TableApart:
        """Return the table for a load; its frames are read when they are asked for."""
        return TableApart(
            label=self.label,
            oid=self.oid,
            copy_statement=self.framed.copy_statement,
            rows=tuple(
                RowsApart(
                    rows=frame.rows,
                    raw_bytes=sum(part.raw_bytes for part in frame.parts),
                    text=partial(_text, self.label, frame, readers),
                )
                for frame in self.framed.frames
            ),
        )

    def written_from(self, opened: Iterator[tuple[StoredPart, OpenedPart]]) -> FramedTable:
        """Return the table for the writer; its rows are taken from what comes ahead."""
        return FramedTable(
            oid=self.oid,
            copy_statement=self.framed.copy_statement,
            frames=[
                _Frame(label=self.label, frame=frame, opened=opened) for frame in self.framed.frames
            ],
        )


def _text(label: str, frame: FramePart, readers: PartReaders) -> Iterator[bytes]:
    return _Frame(label=label, frame=frame, opened=readers.in_order(frame.parts)).text()


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The rows of one page range."""

    label: str
    frame: FramePart
    opened: Iterator[tuple[StoredPart, OpenedPart]]

    def text(self) -> Iterator[bytes]:
        return (part.raw for part in self._counted())

    def zstd(self) -> Iterator[bytes]:
        return (part.frame for part in self._counted())

    def _counted(self) -> Iterator[OpenedPart]:
        rows = 0
        last = b"\n"
        for expected in self.frame.parts:
            part, opened = next(self.opened)
            if part is not expected:
                raise AssertionError("parts are read in another order than they are written")
            rows += opened.raw.count(b"\n")
            last = opened.raw[-1:] or last
            yield opened
        if rows != self.frame.rows or last != b"\n":
            raise SnapshotDamaged(
                f"the frame of `{self.label}` from page {self.frame.first_page} on holds "
                f"{rows:,} rows, and {self.frame.rows:,} were copied out"
            )
