"""Load an archive into an empty database, with the stock `pg_restore` for all that is subtle.

A database under construction must not act on the world: event triggers and subscriptions are left
out of the load, and created at the end, when the database has taken over.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.copying.counted import counted
from alexandria_backup.copying.load_apart import load_apart
from alexandria_backup.copying.loading import Loading, run_pg_restore, schema_file, with_roles

#: What would act on other servers, or on every later command.
_ACTING = frozenset({"EVENT TRIGGER", "SUBSCRIPTION"})


def acting_entries(entries: Sequence[TocEntry]) -> tuple[TocEntry, ...]:
    """Return the event triggers and subscriptions of an archive."""
    return tuple(entry for entry in entries if _acts(entry))


def load_archive(load: Loading) -> tuple[str, ...]:
    """Load everything but event triggers and subscriptions.

    An archive that can be taken apart is loaded by several sessions at once; so is a file, by
    pg_restore's own jobs. Returns the tables, as `schema.name`, whose rows were read back and
    compared on the way. Raises ClientToolFailed or StatementFailed at the first error, as a load
    that went wrong in part went wrong, and ProofFailed where the server has other rows.
    """
    with load.archive.apart() as apart:
        if apart is not None:
            return load_apart(load, apart, _does_not_act)
    path = load.archive.local_path()
    # Other roles stand in no file: it is written anew on its way.
    if path is not None and not load.options.roles:
        run_pg_restore(load, path, _does_not_act, f"--jobs={load.options.jobs}")
        return ()
    chunks = counted(
        _chunks(load),
        work=f"load {load.archive.name}",
        total=load.archive.size(),
        emit=load.emit,
    )
    run_pg_restore(load, chunks, _does_not_act)
    return ()


def load_acting_entries(load: Loading) -> None:
    """Create the event triggers and subscriptions that `load_archive` left out.

    pg_dump writes subscriptions so that they connect to nothing until they are enabled.
    """
    _load_without_data(load, _acts)


def load_privileges(load: Loading, numbers: Collection[int]) -> None:
    """Grant what the entries of these numbers grant; doing it twice equals doing it once."""
    if numbers:
        _load_without_data(load, lambda entry: entry.dump_id in numbers)


def _load_without_data(load: Loading, keep: Callable[[TocEntry], bool]) -> None:
    with load.archive.apart() as apart:
        if apart is not None:
            with schema_file(load, apart) as schema:
                run_pg_restore(load, schema, keep)
            return
    path = None if load.options.roles else load.archive.local_path()
    run_pg_restore(load, path or _chunks(load), keep)


def _chunks(load: Loading) -> Iterator[bytes]:
    """Return the archive, with the roles that are asked for."""
    return with_roles(load, load.archive.chunks())


def _does_not_act(entry: TocEntry) -> bool:
    return not _acts(entry)


def _acts(entry: TocEntry) -> bool:
    if entry.description in _ACTING:
        return True
    # COMMENT and SECURITY LABEL entries are tagged with what they describe.
    return entry.description in {"COMMENT", "SECURITY LABEL"} and entry.tag.startswith(
        tuple(f"{kind} " for kind in _ACTING)
    )
