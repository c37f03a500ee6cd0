"""Verify a repository's snapshot in full, and keep what was found, signed.

It reads through the same reader that restore and export use. Where it is not whole, the objects are
found that are to blame, so that nothing is ever taken over from them and the next snapshot stores
them anew.
"""

from dataclasses import replace

from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.errors import SnapshotDamaged, StorageError
from alexandria_backup.events import Emit, Warned
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.examining import Bad, record
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.rehashing import damaged_objects
from alexandria_backup.repository.results import Examination
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.verify import Verdict, verify_snapshot


def verify_deep(
    repository: Repository,
    entry: SnapshotEntry,
    archive: ArchiveSource,
    chain: ChainReader,
    emit: Emit,
) -> Verdict:
    """Read a snapshot to its end, as `verify_snapshot` does, and keep the result.

    Raises SnapshotDamaged, once that is kept; a machine without the signing key, or without the
    right to write, keeps nothing, and says so.
    """
    # What an earlier examination found wrong is no reason not to look again.
    afresh = replace(entry, problem=None)
    try:
        verdict = verify_snapshot(afresh, archive, chain, emit)
    except SnapshotDamaged as error:
        bad = damaged_objects(repository, entry)
        _keep(repository, entry, bad, emit, problem=error.message)
        raise
    details = {"rows": str(verdict.rows), "bytes": str(verdict.bytes)}
    _keep(repository, entry, (), emit, details=details)
    return verdict


def _keep(
    repository: Repository,
    entry: SnapshotEntry,
    bad: tuple[Bad, ...],
    emit: Emit,
    *,
    problem: str | None = None,
    details: dict[str, str] | None = None,
) -> None:
    """Keep it, or tell why not: what was found must not be hidden by that."""
    try:
        kept = record(
            repository, entry, Examination.READ_BACK, bad, problem=problem, details=details
        )
    except StorageError as error:
        emit(Warned(message=f"the result is not kept: {error.message}", hint=error.hint))
        return
    if not kept:
        emit(
            Warned(
                message="the result is not kept: this machine has no signing key, or may not write",
                hint="set `signing.key_file`, and give the right to write to `results/`",
            )
        )
