"""Load an archive into an empty database with the stock `pg_restore`.

A database under construction must not act on the world: event triggers and subscriptions are left
out of the load, and created at the end, when the database has taken over.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.archive.inventory import list_file
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.copying.counted import counted
from alexandria_backup.events import Emit
from alexandria_backup.postgres.client_tools import ClientTools, restore
from alexandria_backup.postgres.dsn import Dsn

#: What would act on other servers, or on every later command.
_ACTING = frozenset({"EVENT TRIGGER", "SUBSCRIPTION"})


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How an archive is loaded."""

    #: Connections at once; more than one needs the archive as a local file.
    jobs: int = 2
    #: Restore neither owners nor privileges.
    no_owner: bool = False


def acting_entries(entries: Sequence[TocEntry]) -> tuple[TocEntry, ...]:
    """Return the event triggers and subscriptions of an archive."""
    return tuple(entry for entry in entries if _acts(entry))


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


def load_archive(load: Loading) -> None:
    """Load everything but event triggers and subscriptions.

    Raises ClientToolFailed at the first error: a load that went wrong in part went wrong.
    """
    _restore(load, lambda entry: not _acts(entry), jobs=load.options.jobs)


def load_acting_entries(load: Loading) -> None:
    """Create the event triggers and subscriptions that `load_archive` left out.

    pg_dump writes subscriptions so that they connect to nothing until they are enabled.
    """
    _restore(load, _acts, jobs=1)


def _acts(entry: TocEntry) -> bool:
    if entry.description in _ACTING:
        return True
    # COMMENT and SECURITY LABEL entries are tagged with what they describe.
    return entry.description in {"COMMENT", "SECURITY LABEL"} and entry.tag.startswith(
        tuple(f"{kind} " for kind in _ACTING)
    )


def _restore(load: Loading, keep: Callable[[TocEntry], bool], *, jobs: int) -> None:
    with _private_file(list_file(load.entries, keep)) as use_list:
        arguments = ["--exit-on-error", f"--use-list={use_list}"]
        if load.options.no_owner:
            arguments += ["--no-owner", "--no-privileges"]
        path = load.archive.local_path()
        if path is not None:
            arguments.append(f"--jobs={jobs}")
        source = path or counted(
            load.archive.chunks(),
            work=f"load {load.archive.name}",
            total=load.archive.size(),
            emit=load.emit,
        )
        restore(load.tools, load.dsn, source, arguments, server_major=load.server_major)


@contextmanager
def _private_file(text: str) -> Iterator[Path]:
    """Give a file that only this user can read: names in an archive are nobody else's business."""
    handle, path = tempfile.mkstemp(prefix="alexandria-", suffix=".list")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        yield Path(path)
    finally:
        Path(path).unlink()
