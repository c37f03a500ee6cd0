"""Open the store that a path or URL names, so that it bears a short silence."""

from alexandria_backup.events import Emit, discard
from alexandria_backup.storage.interruptible import InterruptibleStore
from alexandria_backup.storage.locate import open_store
from alexandria_backup.storage.retry import RetryingStore
from alexandria_backup.storage.store import ObjectStore


def open_retrying(location: str, *, emit: Emit = discard) -> ObjectStore:
    """Open the store at a path or URL; worker processes each need one of their own."""
    return RetryingStore(InterruptibleStore(open_store(location)), emit=emit)
