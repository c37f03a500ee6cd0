"""An archive of everything but data, for `pg_restore --jobs`, which needs a file."""

from collections.abc import Mapping
from types import MappingProxyType

from alexandria_backup.archive.format_version import rewritten
from alexandria_backup.archive.owners import with_owners
from alexandria_backup.archive.raw_toc import header_bytes, toc_bytes
from alexandria_backup.archive.reader import ArchiveReader
from alexandria_backup.archive.toc import Compression


def schema_archive(base: ArchiveReader, roles: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Return the entries of `base` that own no data, as an archive of their own.

    They name other roles in the place of those that `roles` has.

    Numbers and dependencies stay; pg_restore takes those that lead nowhere for done, as it does
    with pg_dump's own boundaries between sections.
    """
    owned = with_owners(base.raw_entries, roles, encoding=base.encoding)
    entries = [entry for entry in owned if not entry.had_dumper]
    header = rewritten(base.header.raw, entries, minor=None, compression=Compression.NONE)
    return header_bytes(header) + toc_bytes(header, entries)
