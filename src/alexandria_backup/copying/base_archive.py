"""The base archive of a repository's snapshot: the whole schema and all small tables.

Everything subtle stays pg_dump's job: sequences, large objects, materialized views, configuration
tables of extensions, row security, statistics. It writes uncompressed, since each object is
compressed by itself, and what it writes is read to its end while it is stored.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self

from alexandria_backup.archive.contents import RowSink
from alexandria_backup.archive.encodings import encode
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.counted import counted
from alexandria_backup.copying.read_archive import ReadArchive, read_chunks
from alexandria_backup.copying.storing import PART_BYTES, Storing
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.events import Emit, Note
from alexandria_backup.postgres.client_tools import ClientTools, DumpProcess, dump, dump_roles
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.identifiers import quote_identifier, quote_qualified
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf

#: Uncompressed, in pg_dump's custom format, for a reader that takes it apart as it comes.
_OPTIONS = ("--format=custom", "--compress=0")


@dataclass(frozen=True, kw_only=True)
class BaseArchive:
    """A base archive that was stored."""

    read: ReadArchive
    parts: tuple[StoredPart, ...]
    #: Stored bytes that were not there before.
    new_bytes: int


def base_archive_options(
    *,
    snapshot: str,
    framed: Sequence[tuple[str, str]],
    encoding: str,
    lock_timeout_s: float,
    schemas_left_out: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the options of pg_dump for a database of `encoding`, by PostgreSQL's name.

    The data of framed tables, given by schema and name, are left out by their exact names, and so
    are whole schemas. Raises PrecheckRefused for a name that has no form in the encoding.
    """
    rows = (f"--exclude-table-data={quote_qualified(*names)}" for names in framed)
    return (
        *_OPTIONS,
        f"--snapshot={snapshot}",
        # A queued ACCESS EXCLUSIVE lock would hold pg_dump up, and nobody would see it.
        *((f"--lock-wait-timeout={round(lock_timeout_s * 1000)}",) if lock_timeout_s > 0 else ()),
        *(encoded(option, encoding) for option in rows),
        *schema_options(schemas_left_out, encoding),
    )


def schema_options(left_out: Sequence[str], encoding: str) -> tuple[str, ...]:
    """Return the options by which pg_dump leaves out whole schemas of a database of `encoding`."""
    return tuple(
        encoded(f"--exclude-schema={quote_identifier(name)}", encoding) for name in left_out
    )


def tell_left_out(schemas: Sequence[str], emit: Emit) -> None:
    """Say which schemas of the database are no part of its snapshot.

    Their comment alone makes them so, and whoever owns a schema may write its comment.
    """
    if schemas:
        names = ", ".join(f"`{name}`" for name in schemas)
        emit(
            Note(
                message=f"left out: {names}, which a restore in place has put aside as its comment "
                "says; `alexandria run accept` drops what it has kept"
            )
        )


def encoded(option: str, encoding: str) -> str:
    """Return an option as pg_dump takes it: in the database's encoding, whatever the locale's is.

    Raises PrecheckRefused for a name that has no form in the encoding.
    """
    return os.fsdecode(encode(option, encoding))


def refuse_rows_of(base: BaseArchive, framed: Collection[int]) -> None:
    """Raise SnapshotDamaged where pg_dump has dumped rows of tables that are kept as frames.

    Loaded, they would be there twice. `framed` are the OIDs of these tables.
    """
    for entry in base.read.entries:
        if entry.description == "TABLE DATA" and entry.oid in framed:
            raise SnapshotDamaged(
                f"`pg_dump` did not leave out the rows of `{entry.namespace}.{entry.tag}`, "
                "which are kept as frames",
                hint="alexandria snapshot create --file PATH   # the paper recipe",
            )


def dump_base_archive(
    *,
    tools: ClientTools,
    dsn: Dsn,
    options: Sequence[str],
    shelf: ObjectShelf,
    watch: Callable[[TocEntry], RowSink | None],
    started: Callable[[DumpProcess], None],
    emit: Emit,
) -> BaseArchive:
    """Run pg_dump, store what it writes in parts, and read it to its end meanwhile.

    `started` is given the process, so that another thread can end it. Raises ClientToolFailed where
    pg_dump failed, ArchiveDamaged where what it wrote is not whole, and StorageError where the
    store failed.
    """
    before = shelf.stored_bytes
    with dump(tools, dsn, options) as process, _Parts(shelf) as parts:
        started(process)
        chunks = counted(process.chunks, work="base archive", total=None, emit=emit)
        read = read_chunks(parts.keep(chunks), watch=watch)
        stored = parts.stored()
    return BaseArchive(read=read, parts=stored, new_bytes=shelf.stored_bytes - before)


def dump_role_statements(
    *, tools: ClientTools, dsn: Dsn, shelf: ObjectShelf
) -> tuple[StoredPart, ...]:
    """Store the roles of the cluster as SQL, without their passwords.

    Raises ClientToolsMissing and ClientToolFailed.
    """
    with dump_roles(tools, dsn) as process, _Parts(shelf) as parts:
        for _ in parts.keep(process.chunks):
            pass
        return parts.stored()


class _Parts:
    """A stream that is kept in parts while it is read; a context manager."""

    def __init__(self, shelf: ObjectShelf) -> None:
        self._storing = Storing(shelf)
        self._parts: list[Future[StoredPart]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._storing.close()

    def keep(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Give the chunks on, and begin to store them."""
        waiting: list[bytes] = []
        size = 0
        for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            if size >= PART_BYTES:
                self._parts.append(self._storing.put(b"".join(waiting)))
                waiting, size = [], 0
            yield chunk
        if waiting:
            self._parts.append(self._storing.put(b"".join(waiting)))

    def stored(self) -> tuple[StoredPart, ...]:
        """Return the parts, once all are stored; raises what storing them has raised."""
        self._storing.settle()
        return tuple(part.result() for part in self._parts)
