"""Keep what a verify or a drill has found, or tell why it is not kept."""

from alexandria_backup.errors import StorageError
from alexandria_backup.events import Emit, Warned
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.examining import Bad, record
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.results import Examination


def keep_result(
    repository: Repository,
    entry: SnapshotEntry,
    examination: Examination,
    bad: tuple[Bad, ...],
    emit: Emit,
    *,
    problem: str | None = None,
    details: dict[str, str] | None = None,
) -> bool:
    """Tell whether it is kept; where it is not, a warning says why: what was found counts."""
    try:
        kept = record(repository, entry, examination, bad, problem=problem, details=details)
    except StorageError as error:
        emit(Warned(message=f"the result is not kept: {error.message}", hint=error.hint))
        return False
    if not kept:
        emit(
            Warned(
                message="the result is not kept: this machine has no signing key, or may not write",
                hint="set `signing.key_file`, and give the right to write to `results/`",
            )
        )
    return kept
