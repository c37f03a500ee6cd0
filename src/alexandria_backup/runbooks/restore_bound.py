"""The extension that works in one database only: kept out of the shadow, created after the swap."""

from collections.abc import Sequence

from alexandria_backup.archive.bound_extension import BoundExtension, bound_extension
from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.load_archive import load_privileges
from alexandria_backup.copying.loading import Loading
from alexandria_backup.errors import ClientToolFailed, ConnectionLost, StatementFailed
from alexandria_backup.postgres.bound_extension import (
    active_jobs_aside,
    give_rows_back,
    keep_rows_aside,
    rows_are_aside,
)
from alexandria_backup.postgres.connect import Session


def loaded_beside(entries: Sequence[TocEntry]) -> tuple[TocEntry, ...]:
    """Return what of an archive can be loaded under another name than the live database's."""
    bound = bound_extension(entries)
    if bound is None:
        return tuple(entries)
    later = bound.creation | bound.privileges
    return tuple(entry for entry in entries if entry.dump_id not in later)


def make_room_for_bound(shadow: Session, entries: Sequence[TocEntry]) -> None:
    """Let the rows of the extension go into tables that stand in for its own."""
    bound = bound_extension(entries)
    if bound is not None:
        keep_rows_aside(shadow, _tables(bound), bound.sequences)


def active_jobs(session: Session, entries: Sequence[TocEntry]) -> tuple[int, ...]:
    """Return the numbers of the active jobs among the rows that were just loaded."""
    bound = bound_extension(entries)
    if bound is None or not bound.rows or not rows_are_aside(session):
        return ()
    return active_jobs_aside(session)


def bring_back_bound(session: Session, load: Loading, active: Sequence[int]) -> tuple[str, ...]:
    """Create the extension and give it its rows and privileges; return the warnings.

    What is refused is a warning, too: the data are there and proved, and the application must not
    stay down for a job that is not to run anyway. `active` are the jobs that ran in the source.
    Raises ConnectionLost, and ClientToolFailed where `pg_restore` has lost its connection.
    """
    bound = bound_extension(load.entries)
    if bound is None:
        return ()
    try:
        if rows_are_aside(session):
            give_rows_back(session, _tables(bound), bound.sequences)
        load_privileges(load, bound.privileges)
    except ConnectionLost:
        # Nobody knows how far it came: the run stops, and a resume goes on from here.
        raise
    except (StatementFailed, ClientToolFailed) as error:
        if isinstance(error, ClientToolFailed) and error.lost_connection:
            raise
        return (f"`pg_cron` was not created in full: {error.message}",)
    if not active:
        return ()
    numbers = ", ".join(map(str, active))
    return (
        f"{len(active)} jobs of `pg_cron` were restored inactive; "  # noqa: S608 - to print
        "to let them run: "
        f"UPDATE cron.job SET active = true WHERE jobid IN ({numbers})",
    )


def _tables(bound: BoundExtension) -> list[tuple[str, tuple[str, ...]]]:
    return [(e.tag, columns_of(e.copy_statement).columns) for e in bound.rows if e.copy_statement]
