"""One load of an archive into a database, and how pg_restore is run for it."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.archive.inventory import list_file
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.events import Emit
from alexandria_backup.postgres.client_tools import ClientTools, restore
from alexandria_backup.postgres.dsn import Dsn


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How an archive is loaded."""

    #: Connections at once.
    jobs: int = 2
    #: Restore neither owners nor privileges.
    no_owner: bool = False
    #: Put everything into the default tablespace: the server may not have the others.
    no_tablespaces: bool = False


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


@contextmanager
def private_file(data: bytes, suffix: str) -> Iterator[Path]:
    """Give a file that only this user can read: names in an archive are nobody else's business."""
    handle, path = tempfile.mkstemp(prefix="alexandria-", suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield Path(path)
    finally:
        Path(path).unlink()
