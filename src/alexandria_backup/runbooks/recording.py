"""Writing down in the repository's ledger that one of its snapshots was restored.

It is told when the restore is over and the application is up: the ledger must cost no downtime, and
its failure must not make a restore that is done look undone.
"""

from alexandria_backup.errors import StorageError, WrongKey
from alexandria_backup.events import Emit, Note, Warned
from alexandria_backup.repository.ledger_entry import Action
from alexandria_backup.repository.opened import Repository
from alexandria_backup.runbooks.restore_state import RestoreState


def record_restore(repository: Repository, state: RestoreState, emit: Emit) -> None:
    """Append an entry, and tell the head; nothing is written for a file of another place."""
    source = state.source
    if source is None or state.request.store != repository.store.url:
        return
    try:
        head = repository.ledger.append(
            Action.RESTORE,
            snapshots=(source.snapshot,),
            reason=state.request.reason,
            details={"into": state.request.to_database or state.target},
            run=state.run,
        )
        repository.remember((head,))
    except WrongKey as error:
        # A machine that may only read restores as well as any other.
        emit(Note(message=f"the ledger does not tell of the restore: {error.message}"))
    except StorageError as error:
        emit(
            Warned(
                message=f"the ledger does not tell of the restore: {error.message}",
                hint=error.hint,
            )
        )
    else:
        emit(Note(message=f"the ledger's head is {head}"))
