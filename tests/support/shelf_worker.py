"""What a worker process of the engine does with a shelf; importable, as a spawned process needs."""

from pathlib import Path

from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.part_sealing import PartSealing
from alexandria_backup.storage.local import LocalStore


def put_and_get(folder: Path, sealing: PartSealing, raw: bytes) -> tuple[StoredPart, bytes]:
    """Store raw bytes and read them back."""
    shelf = ObjectShelf(LocalStore(folder), sealing)
    part = shelf.put(raw)
    return part, shelf.get(part)
