"""Where an archive comes from: the seam between what reads archives and what keeps them.

Whoever verifies, loads or exports an archive asks a source for it, and does not know whether it is
a file or is put together from a repository's parts.
"""

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import Compression
from alexandria_backup.archive.writer import ArchiveWriter
from alexandria_backup.errors import ObjectMissing, SnapshotMissing
from alexandria_backup.sealing.compression import archive_decompressor, compress
from alexandria_backup.storage.store import ObjectStore

#: Compressions that need a codec from outside the standard library.
DECOMPRESSORS: Final = {Compression.ZSTD: archive_decompressor}
COMPRESSORS: Final = {Compression.ZSTD: compress}


@dataclass(frozen=True, kw_only=True)
class RowsApart:
    """Some rows of a table, to be loaded by one COPY."""

    rows: int
    #: Of the text; an estimate for progress.
    raw_bytes: int
    #: Yields the rows as COPY text in the archive's encoding, checked, in pieces cut anywhere.
    text: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, kw_only=True)
class TableApart:
    """A table whose rows can be loaded by several sessions at once."""

    #: `schema.name`, for people.
    label: str
    #: Of the table in the database that was dumped: its entry's.
    oid: int
    #: As pg_dump writes it.
    copy_statement: str
    rows: tuple[RowsApart, ...]


@dataclass(frozen=True, kw_only=True)
class ArchiveApart:
    """An archive taken apart."""

    #: An archive of all entries that own no data.
    schema: bytes
    encoding: str
    #: Yields the archive of the entries that own data, as far as they are not in `tables`.
    base: Callable[[], Iterator[bytes]]
    tables: tuple[TableApart, ...]


class ArchiveSource(Protocol):
    """One archive; reading it twice gives the same bytes, or an error."""

    @property
    def name(self) -> str:
        """What to call it when progress is told."""
        ...

    @property
    def identity(self) -> str | None:
        """A digest that stands for the archive's contents, where one is known without reading it.

        Whatever is read is then checked against it on the way. None where only the bytes can tell.
        """
        ...

    def size(self) -> int | None:
        """Return how many bytes there are, at least about; raises SnapshotMissing, StorageError."""
        ...

    def require_present(self) -> None:
        """Raise SnapshotMissing or SnapshotDamaged where a part of it is not there; reads none."""
        ...

    def chunks(self) -> Generator[bytes]:
        """Yield the archive from front to back, in chunks cut anywhere.

        Raises SnapshotMissing or SnapshotDamaged where it is not there or not whole, StorageError
        where the store fails.
        """
        ...

    def only(self, tables: Collection[str]) -> "ArchiveSource":
        """Return the same archive without the rows of other tables, where they lie apart.

        `tables` are written as `schema.name`. What cannot be left unread stays in it.
        """
        ...

    def local_path(self) -> Path | None:
        """Return the file that it is on this machine; None where it is none."""
        ...

    def apart(self) -> AbstractContextManager[ArchiveApart | None]:
        """Give the archive in parts that can be loaded at the same time; None where it is whole.

        Reading a part raises what `chunks` raises.
        """
        ...

    def writer(
        self, *, compression: Compression, format_minor: int | None
    ) -> AbstractContextManager[ArchiveWriter]:
        """Give what writes the archive in another form; None keeps the version.

        Raises PrecheckRefused where it cannot be written so, and else what `chunks` raises.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """An archive that is one object of a store."""

    store: ObjectStore
    name: str
    #: Anybody may have written the file anew.
    identity: None = None

    def size(self) -> int:
        """Ask the store."""
        info = self.store.head(self.name)
        if info is None:
            raise SnapshotMissing(f"`{self.name}` is not in `{self.store.url}`")
        return info.size

    def require_present(self) -> None:
        """Ask the store."""
        self.size()

    def chunks(self) -> Generator[bytes]:
        """Read the object."""
        try:
            yield from self.store.read(self.name)
        except ObjectMissing as error:
            raise SnapshotMissing(
                f"`{self.name}` is not in `{self.store.url}`, or vanished while it was read"
            ) from error

    def only(self, tables: Collection[str]) -> "StoredFile":  # noqa: ARG002 - the port's form
        """Return the file: it is read from front to back."""
        return self

    def local_path(self) -> Path | None:
        """Ask the store."""
        return self.store.local_path(self.name)

    def apart(self) -> AbstractContextManager[None]:
        """Give nothing: rows stand one after the other."""
        return nullcontext()

    @contextmanager
    def writer(
        self, *, compression: Compression, format_minor: int | None
    ) -> Iterator[ArchiveWriter]:
        """Read the object once more, as the writer asks for it."""
        with closing(self.chunks()) as chunks:
            yield ArchiveWriter(
                ArchiveReader(chunks, decompressors=DECOMPRESSORS),
                compression=compression,
                format_minor=format_minor,
                compressors=COMPRESSORS,
            )
