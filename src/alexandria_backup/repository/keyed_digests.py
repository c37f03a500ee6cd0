"""Digests of contents in a repository's manifest: keyed, since a manifest is not encrypted.

Whoever can guess the rows of a small table could confirm that by their plain digest. The first
releases wrote it plain, as the manifest beside a file still does; both are told apart and compared.
"""

from typing import Final

from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.sealing.digests import keyed_blake3, made_under

#: Stands before what is keyed; no plain digest holds it.
_KEYED: Final = "blake3:"


def keyed_manifest(manifest: Manifest, key: bytes) -> Manifest:
    """Return a manifest whose digests of rows, and of the base archive, are keyed."""
    archive, objects = manifest.archive, manifest.large_objects
    return manifest.model_copy(
        update={
            "archive": archive.model_copy(update={"sha256": keyed(archive.sha256, key)}),
            "tables": tuple(
                table.model_copy(update={"digest": keyed(table.digest, key)})
                if table.digest is not None
                else table
                for table in manifest.tables
            ),
            "large_objects": objects.model_copy(
                update={"digest": objects.digest and keyed(objects.digest, key)}
            ),
        }
    )


def keyed(digest: str, key: bytes) -> str:
    """Return `blake3:hex` for a plain `hex`, and `rows:blake3:hex` for `rows:hex`."""
    rows, colon, _ = digest.rpartition(":")
    return f"{rows}{colon}{_KEYED}{keyed_blake3(key, digest.encode())}"


def may_be_same(recorded: str | None, found: str | None, key: bytes | None) -> bool:
    """Tell whether what was found, always plain, is what was recorded.

    What was recorded under another key than `key` cannot be compared, but for the number of rows.
    """
    if recorded is None or found is None or _KEYED not in recorded:
        return recorded == found
    rows, _, digest = recorded.partition(_KEYED)
    if rows and not found.startswith(rows):
        return False
    if key is None or not made_under(key, digest):
        return True
    return recorded == keyed(found, key)
