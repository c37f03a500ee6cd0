"""The paper recipe: one `pg_dump` custom-format archive, streamed to where it is kept.

Nothing is staged: what pg_dump writes goes to the store in the same moment, and the object appears
only when pg_dump has ended well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alexandria_backup.copying.counted import counted
from alexandria_backup.events import Emit
from alexandria_backup.postgres.client_tools import ClientTools, dump
from alexandria_backup.postgres.dsn import Dsn
from alexandria_backup.sealing.digests import Sha256Tee
from alexandria_backup.storage.store import ObjectStore


@dataclass(frozen=True, kw_only=True)
class StoredArchive:
    """An archive as it was handed to the store."""

    name: str
    bytes: int
    #: Of the bytes as pg_dump wrote them, in hex.
    sha256: str


def dump_archive(
    *,
    tools: ClientTools,
    dsn: Dsn,
    store: ObjectStore,
    name: str,
    options: Sequence[str],
    expected_bytes: int | None,
    emit: Emit,
) -> StoredArchive:
    """Dump the database of `dsn` into a new object `name` of `store`.

    Raises ObjectExists where there is one already, ClientToolFailed where pg_dump failed, and
    StorageError where the store did; in all these cases no object `name` has come to be.
    """
    with dump(tools, dsn, options) as process:
        chunks = counted(process.chunks, work=f"dump {name}", total=expected_bytes, emit=emit)
        tee = Sha256Tee(chunks)
        # The chunks end with an error where pg_dump failed, so that no object comes to be then.
        store.put_stream(name, tee, expected_size=expected_bytes)
    return StoredArchive(name=name, bytes=tee.size, sha256=tee.hexdigest())
