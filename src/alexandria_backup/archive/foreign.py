"""What a file is that is not an archive of pg_dump's custom format, for the error message."""

import shlex
from typing import Final

from alexandria_backup.errors import ArchiveDamaged

MAGIC: Final = b"PGDMP"
#: The table of contents of a dump in directory format.
DIRECTORY_CONTENTS: Final = "toc.dat"
#: Enough to see the name of the first member of a tar file, and the first line of a script.
SEEN_BYTES: Final = 512

_MAKE_AGAIN: Final = "make the archive with `pg_dump --format=custom`"
_BY_WAY_OF: Final = (
    "createdb scratch && {load} && pg_dump --format=custom --file=NEW.pgdump scratch   "
    "# then restore NEW.pgdump"
)
_LOAD_SCRIPT: Final = _BY_WAY_OF.format(load="psql -v ON_ERROR_STOP=1 -d scratch -f FILE")
_LOAD_DUMP: Final = _BY_WAY_OF.format(load="pg_restore --exit-on-error -d scratch FILE")
_LOAD_CLUSTER: Final = "psql -d postgres -f FILE   # it holds roles and several databases"
_FETCH_AGAIN: Final = ArchiveDamaged.usual_hint or ""

#: Beginning, what it is, what to do next.
_BEGINNINGS: Final = (
    (b"\x1f\x8b", "a gzip file", "gunzip it first: the archive is compressed inside already"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "decompress it first with `zstd -d`"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "decompress it first with `lz4 -d`"),
    (b"BZh", "a bzip2 file", "decompress it first with `bunzip2`"),
    (b"\xfd7zXZ\0", "an xz file", "decompress it first with `unxz`"),
    (b"PK\x03\x04", "a zip file", "unpack it first with `unzip`"),
    (b"age-encryption.org/", "a file encrypted with age", "decrypt it first with `age -d`"),
    (b"-----BEGIN AGE", "a file encrypted with age", "decrypt it first with `age -d`"),
    (b"toc.dat\0", "a dump in tar format", _LOAD_DUMP),
    (b"--\n-- PostgreSQL database cluster dump", "a script of `pg_dumpall`", _LOAD_CLUSTER),
    (b"--\n-- PostgreSQL database dump", "a plain SQL script of `pg_dump`", _LOAD_SCRIPT),
    (b"<", "an HTML or XML page, such as an object store's error", _FETCH_AGAIN),
)
_SCRIPT_WORDS: Final = (b"--", b"/*", b"\\", b"set ", b"create ", b"begin", b"drop ", b"copy ")


def not_an_archive(beginning: bytes) -> ArchiveDamaged:
    """Return the error for a file that begins with `beginning`, up to SEEN_BYTES of it."""
    if not beginning:
        return ArchiveDamaged(
            "the archive is empty: the file has 0 bytes",
            hint="the dump or the copy of it failed: use another snapshot",
        )
    if len(beginning) < len(MAGIC) and MAGIC.startswith(beginning):
        return ArchiveDamaged(
            f"the archive is cut off at byte {len(beginning)}, inside its first word",
            hint=_FETCH_AGAIN,
        )
    what, hint = _recognised(beginning)
    return ArchiveDamaged(
        f"the file is not an archive of `pg_dump`: it looks like {what}", hint=hint
    )


def directory_format(name: str) -> ArchiveDamaged:
    """Return the error for a folder that `pg_dump --format=directory` has made."""
    return ArchiveDamaged(
        f"`{name}` is a dump in directory format, and one file in custom format is needed",
        hint=_LOAD_DUMP.replace("FILE", shlex.quote(name)),
    )


def _recognised(beginning: bytes) -> tuple[str, str]:
    for start, what, hint in _BEGINNINGS:
        if beginning.startswith(start):
            return what, hint
    if beginning[257:262] == b"ustar":
        return "a tar file", _MAKE_AGAIN
    if not beginning.strip(b"\0"):
        return "nothing but NUL bytes: it was never written", _FETCH_AGAIN
    if beginning.lstrip().lower().startswith(_SCRIPT_WORDS):
        return "an SQL script", _LOAD_SCRIPT
    return "something else", _MAKE_AGAIN
