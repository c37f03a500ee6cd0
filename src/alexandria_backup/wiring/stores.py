"""Shelves by their places: few imports, as each worker process begins with them."""

from collections.abc import Sequence
from functools import partial

from alexandria_backup.copying.storing import OpenShelf
from alexandria_backup.repository.layout import object_name
from alexandria_backup.repository.manifest_parts import StoredPart
from alexandria_backup.repository.objects import ObjectShelf
from alexandria_backup.repository.part_sealing import PartSealing
from alexandria_backup.storage.open_retrying import open_retrying


def shelves(location: str, sealing: PartSealing, known: Sequence[StoredPart]) -> OpenShelf:
    """Return what opens a shelf in any process, given the parts that are known to be stored."""
    return partial(_open_shelf, location, sealing, tuple(known))


def _open_shelf(location: str, sealing: PartSealing, known: tuple[StoredPart, ...]) -> ObjectShelf:
    return ObjectShelf(
        open_retrying(location),
        sealing,
        present={object_name(part.object): part.bytes for part in known} if known else None,
        known={part.raw_digest: part for part in known},
    )
