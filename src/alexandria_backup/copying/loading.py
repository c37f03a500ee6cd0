"""One load of an archive into a database, and how pg_restore is run for it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from alexandria_backup.archive.inventory import list_file
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.schema_archive import schema_archive
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.archive.writer import ArchiveWriter
from alexandria_backup.copying.archive_source import ArchiveApart, ArchiveSource
from alexandria_backup.events import Emit
from alexandria_backup.postgres.client_tools import ClientTools, restore
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.postgres.throwaway_folder import temporary_folder


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How an archive is loaded."""

    #: Connections at once.
    jobs: int = 2
    #: Restore neither owners nor privileges.
    no_owner: bool = False
    #: Put everything into the default tablespace: the server may not have the others.
    no_tablespaces: bool = False
    #: Roles of the archive, and those that own and may use in their place.
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """An archive and the database that it is loaded into."""

    tools: ClientTools
    #: Of the database to load into.
    dsn: Dsn
    server_major: int
    archive: ArchiveSource
    entries: tuple[TocEntry, ...]
    options: LoadOptions
    emit: Emit
    #: Whether the archive's values were rendered with our settings, so that rows can be compared.
    pinned: bool = False


def run_pg_restore(
    load: Loading,
    source: Path | Iterable[bytes],
    keep: Callable[[TocEntry], bool],
    *options: str,
) -> None:
    """Restore those entries of `source`, an archive or a part of it, that `keep` lets through.

    `keep` must refuse what is not in `source`. Raises ClientToolFailed at the first error.
    """
    with private_file(list_file(load.entries, keep).encode(), ".list") as use_list:
        arguments = ["--exit-on-error", f"--use-list={use_list}", *options]
        if load.options.no_owner:
            arguments += ["--no-owner", "--no-privileges"]
        if load.options.no_tablespaces:
            arguments.append("--no-tablespaces")
        restore(load.tools, load.dsn, source, arguments, server_major=load.server_major)


def with_roles(load: Loading, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return an archive, or a part of it, with the roles that are asked for."""
    if not load.options.roles:
        return chunks
    return ArchiveWriter(ArchiveReader(chunks), roles=load.options.roles).stream()


@contextmanager
def schema_file(load: Loading, apart: ArchiveApart) -> Iterator[Path]:
    """Give the entries that own no data as a file, with the roles that are asked for."""
    schema = apart.schema
    if load.options.roles:
        schema = schema_archive(ArchiveReader([schema]), load.options.roles)
    with private_file(schema, ".pgdump") as path:
        yield path


@contextmanager
def private_file(data: bytes, suffix: str) -> Iterator[Path]:
    """Give a file that only this user can read: names in an archive are nobody else's business."""
    with temporary_folder() as folder:
        path = folder / f"archive{suffix}"
        path.write_bytes(data)
        yield path
