"""Export: write a snapshot as one archive that the stock pg_restore reads, and read it back.

What leaves here needs nothing of ours any more: neither this program nor its repository.
"""

from dataclasses import dataclass
from typing import Final

from alexandria_backup.archive.format_version import WRITABLE
from alexandria_backup.archive.toc import Compression
from alexandria_backup.copying.archive_source import ArchiveSource, StoredFile
from alexandria_backup.copying.counted import counted
from alexandria_backup.copying.read_archive import ReadArchive, read_archive
from alexandria_backup.errors import ObjectExists, SnapshotDamaged, SpaceMissing, UsageError
from alexandria_backup.events import Emit, Progress
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.runbooks.verify import compare_with_manifest
from alexandria_backup.storage.local import LocalStore
from alexandria_backup.storage.new_file import NewFile
from alexandria_backup.storage.store import ObjectStore

#: Of the stored bytes, what an export takes at least: gzip and zstd differ by less.
_LEAST_SHARE: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is exported, and how."""

    entry: SnapshotEntry
    archive: ArchiveSource
    #: Where the new archive goes; a folder of this machine gets offsets for `pg_restore --jobs`.
    store: ObjectStore
    name: str
    compression: Compression
    #: The minor version of the format 1.x; None leaves it as pg_dump wrote it.
    format_minor: int | None


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An archive that was written and read back."""

    snapshot: str
    #: The file's path, or the object's URL.
    location: str
    bytes: int
    sha256: str
    compression: str
    #: Such as `1.15`.
    format_version: str
    #: The oldest major version whose `pg_restore` reads it.
    pg_restore: int
    tables: int
    rows: int
    #: One line for each thing that could not be counted.
    not_verified: tuple[str, ...]


def parse_format_version(text: str) -> int:
    """Return the minor version of a text such as `1.15`; raises UsageError."""
    major, _, minor = text.partition(".")
    known = {str(number): number for number in WRITABLE}
    if major != "1" or minor not in known:
        listed = ", ".join(f"`1.{number}`" for number in WRITABLE)
        raise UsageError(f"`{text}` is not a version of the format that is written: {listed}")
    return known[minor]


def export_snapshot(request: ExportRequest, emit: Emit) -> Exported:
    """Write a snapshot's archive, and read what was written to its end.

    Raises ObjectExists where there is something of this name, SpaceMissing where there is too
    little room, PrecheckRefused where the archive cannot be written as asked: nothing has come to
    be then. SnapshotDamaged where the snapshot is not whole, or what was read back is not what it
    holds; what was written is removed again in the latter case.
    """
    store, name = request.store, request.name
    location = f"{store.url.rstrip('/')}/{name}"
    if store.head(name) is not None:
        raise ObjectExists(
            f"`{location}` exists already, and nothing is overwritten",
            hint="choose another name, or a folder: the file is then called as the snapshot is",
        )
    least = _refuse_too_large(request)
    _write(request, least, emit)
    try:
        read = _read_back(request, emit)
    except SnapshotDamaged as error:
        store.delete(name)
        raise SnapshotDamaged(
            f"`{location}` was read back other than it was written, and was removed: "
            f"{error.message}",
            hint="check the disk or the object store and this machine's memory, then export again",
        ) from error
    major, minor, _ = read.header.version
    return Exported(
        snapshot=request.entry.id,
        location=location,
        bytes=read.bytes,
        sha256=read.sha256,
        compression=read.header.compression.value,
        format_version=f"{major}.{minor}",
        pg_restore=WRITABLE[max(minor, min(WRITABLE))],
        tables=len(read.contents.tables),
        rows=read.rows,
        not_verified=tuple(f"{name} could not be counted" for name in read.contents.unverified),
    )


def _refuse_too_large(request: ExportRequest) -> int:
    """Return what the export takes at least, in bytes; raises SpaceMissing."""
    whole = request.archive.size()
    stored = request.entry.bytes if request.compression is not Compression.NONE else whole
    least = int((stored or whole or 0) * _LEAST_SHARE)
    free = request.store.free_bytes()
    if free is not None and free < least:
        raise SpaceMissing(
            f"`{request.store.url}` has {free:,} bytes free and the archive needs at least "
            f"{least:,}",
            hint="free space there, or choose another place",
        )
    return least


def _write(request: ExportRequest, least: int, emit: Emit) -> None:
    work = f"write {request.name}"
    with request.archive.writer(
        compression=request.compression, format_minor=request.format_minor
    ) as writer:
        if isinstance(request.store, LocalStore):
            request.store.put_seekable(
                request.name, lambda file: writer.write_to(_Told(file, work, least, emit))
            )
        else:
            chunks = counted(writer.stream(), work=work, total=least, emit=emit)
            request.store.put_stream(request.name, chunks, expected_size=least)


@dataclass
class _Told:
    """A file that tells how much was written to it."""

    file: NewFile
    work: str
    total: int
    emit: Emit
    done: int = 0

    def write(self, data: bytes, /) -> int:
        size = self.file.write(data)
        self.done += size
        total = max(self.total, self.done)
        self.emit(Progress(work=self.work, done=self.done, total=total, unit="bytes"))
        return size

    def seek(self, offset: int, /) -> int:
        return self.file.seek(offset)


def _read_back(request: ExportRequest, emit: Emit) -> ReadArchive:
    written = StoredFile(store=request.store, name=request.name)
    read = read_archive(written, watch=lambda _: None, emit=emit)
    compare_with_manifest(request.entry, read)
    return read
