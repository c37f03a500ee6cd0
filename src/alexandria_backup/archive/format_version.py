"""Which version an archive can be written in, and for which reader.

`pg_restore` refuses archives of a newer format than its own: 1.14 is read from PostgreSQL 12 on,
1.15 from 16, 1.16 from 17. An archive of a newer pg_dump may be written in an older version where
it holds nothing that the older one cannot say.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from alexandria_backup.archive.raw_toc import HAS_ALGORITHM, RawEntry, RawHeader
from alexandria_backup.archive.toc import Compression
from alexandria_backup.archive.toc_reader import COMPRESSION_CODES
from alexandria_backup.errors import PrecheckRefused

#: Minor version to the oldest PostgreSQL whose pg_restore reads it.
WRITABLE: Final = {14: 12, 15: 16, 16: 17}
_DEFAULT_LEVEL: Final = -1
#: Kinds of entries that only newer readers understand: the minor version that brought them, a name.
_NEWER_KINDS: Final = {
    b"BLOB METADATA": (16, "large objects, as `pg_dump` 17 and newer groups them"),
    b"STATISTICS DATA": (16, "statistics of the planner"),
}


def rewritten(
    header: RawHeader,
    entries: Sequence[RawEntry],
    *,
    minor: int | None,
    compression: Compression,
) -> RawHeader:
    """Return the head for the same entries in format 1.`minor`; None keeps the version.

    Raises PrecheckRefused, with all reasons, where that version cannot hold them.
    """
    if minor is None:
        minor = header.version[1]
    elif minor not in WRITABLE:
        known = ", ".join(f"1.{number}" for number in WRITABLE)
        raise PrecheckRefused(f"archives are written in the versions {known}, not in 1.{minor}")
    reasons = [
        reason
        for kind, (since, reason) in _NEWER_KINDS.items()
        if minor < since and any(entry.description == kind for entry in entries)
    ]
    if minor < HAS_ALGORITHM and compression not in (Compression.NONE, Compression.GZIP):
        reasons.append(f"compression with {compression}")
    if reasons:
        raise PrecheckRefused(
            f"version 1.{minor} of the archive format has no place for {' and '.join(reasons)}"
        )
    return replace(
        header,
        version=(header.version[0], minor, header.version[2]),
        compression=_compression_field(header, minor, compression),
    )


def _compression_field(header: RawHeader, minor: int, compression: Compression) -> int:
    if minor >= HAS_ALGORITHM:
        return COMPRESSION_CODES.index(compression)
    if compression is Compression.NONE:
        return 0
    # A level that is there is kept, so that what was read can be written again as it was.
    known = header.compression if header.version[1] < HAS_ALGORITHM else 0
    return known or _DEFAULT_LEVEL
