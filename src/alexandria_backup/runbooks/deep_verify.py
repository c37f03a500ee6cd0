"""Verify a repository's snapshot in full, and keep what was found, signed.

It reads through the same reader that restore and export use. Where it is not whole, the objects are
found that are to blame, so that nothing is ever taken over from them and the next snapshot stores
them anew.
"""

from dataclasses import replace

from alexandria_backup.copying.archive_source import ArchiveSource
from alexandria_backup.errors import SnapshotDamaged
from alexandria_backup.events import Emit
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.rehashing import damaged_objects
from alexandria_backup.repository.results import Examination
from alexandria_backup.runbooks.chain_reader import ChainReader
from alexandria_backup.runbooks.kept_result import keep_result
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
        keep_result(repository, entry, Examination.READ_BACK, bad, emit, problem=error.message)
        raise
    details = {"rows": str(verdict.rows), "bytes": str(verdict.bytes)}
    keep_result(repository, entry, Examination.READ_BACK, (), emit, details=details)
    return verdict
