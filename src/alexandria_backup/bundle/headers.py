"""The tar headers of an entry: POSIX pax, in one canonical form.

A header is ustar where everything fits into it, and preceded by a pax header for what does not.
The reader builds the header anew from what it has understood and compares the bytes: what would be
written otherwise is refused, so no field can say two things.

Formats: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header". Extended
attributes are `SCHILY.xattr.*` records (star, GNU tar, bsdtar), files with holes see `sparse.py`.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final
from zlib import adler32

from alexandria_backup.bundle.entry import Entry, Kind
from alexandria_backup.bundle.sparse import encode_map

BLOCK: Final = 512
#: Two of them end an archive.
ZERO_BLOCK: Final = bytes(BLOCK)
#: The member that says what the others are.
MANIFEST_NAME: Final = b"MANIFEST.json"

TYPES: Final = {Kind.FILE: b"0", Kind.HARDLINK: b"1", Kind.SYMLINK: b"2", Kind.FOLDER: b"5"}
PAX: Final = b"x"
_PAX_NAME: Final = b"PaxHeader"
_SPARSE_NAME: Final = b"GNUSparseFile.0"
NAME_BYTES: Final = 100
PREFIX_BYTES: Final = 155
OWNER_BYTES: Final = 32
MOST_ID: Final = 0o7777777
MOST_SIZE: Final = 0o77777777777
#: Where the checksum stands, and what is counted there.
_BLANK_CHECKSUM: Final = b" " * 8
_SUFFIX: Final = b"ustar\x0000"
_DEVICE: Final = b"0000000\x00" * 2
_TAIL: Final = bytes(12)

Records = list[tuple[bytes, bytes]]


def headers(entry: Entry) -> bytes:
    """Return all blocks that stand before an entry's content; a sparse file's map among them."""
    stored = stored_size(entry)
    name = entry.path + b"/" if entry.kind is Kind.FOLDER else entry.path
    records: Records = []
    if entry.extents is not None:
        records += _sparse_records(entry)
        name = _SPARSE_NAME
    blocks = _ustar_with(entry, name, stored, records)
    if entry.extents is not None:
        blocks += encode_map(entry.extents, entry.size)
    return blocks


def stored_size(entry: Entry) -> int:
    """Return how many bytes follow the header: content, or map and data of a sparse file."""
    if entry.extents is None:
        return entry.size
    return len(encode_map(entry.extents, entry.size)) + data_size(entry)


def data_size(entry: Entry) -> int:
    """Return how many bytes of content are stored."""
    if entry.extents is None:
        return entry.size
    return sum(length for _, length in entry.extents)


def padding(size: int) -> bytes:
    """Return what fills content up to whole blocks."""
    return bytes(-size % BLOCK)


def manifest_header(size: int, mtime: int) -> bytes:
    """Return the header of the manifest's member."""
    entry = Entry(
        path=MANIFEST_NAME, kind=Kind.FILE, mode=0o600, uid=0, gid=0, user="", group="",
        mtime=mtime, size=size,
    )  # fmt: skip
    return headers(entry)


def parse_records(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the records of a pax header; ValueError where it is malformed."""
    position = 0
    while position < len(text):
        blank = text.index(b" ", position, position + 20)
        length = int(text[position:blank])
        record = text[blank + 1 : position + length]
        if length < 5 or position + length > len(text) or record[-1:] != b"\n":
            raise ValueError("a pax record does not fit")
        key, equals, value = record[:-1].partition(b"=")
        if not equals:
            raise ValueError("a pax record has no value")
        yield key, value
        position += length


def _ustar_with(entry: Entry, name: bytes, stored: int, records: Records) -> bytes:
    """Return a ustar header, after a pax header for what does not fit into it."""
    prefix, short = _split(name)
    if short is None:
        records.append((b"path", name))
        prefix, short = b"", name[:NAME_BYTES]
    link = entry.link
    if len(link) > NAME_BYTES:
        records.append((b"linkpath", link))
        link = link[:NAME_BYTES]
    uid, gid, size, mtime = entry.uid, entry.gid, stored, entry.mtime
    if uid > MOST_ID:
        records.append((b"uid", b"%d" % uid))
        uid = 0
    if gid > MOST_ID:
        records.append((b"gid", b"%d" % gid))
        gid = 0
    if size > MOST_SIZE:
        records.append((b"size", b"%d" % size))
        size = 0
    if not 0 <= mtime <= MOST_SIZE:
        records.append((b"mtime", b"%d" % mtime))
        mtime = 0
    user, group = _owner(entry.user, b"uname", records), _owner(entry.group, b"gname", records)
    records += [(b"SCHILY.xattr." + key.encode(), value) for key, value in entry.xattrs]
    header = _ustar(
        short, entry.mode, uid, gid, size, mtime, TYPES[entry.kind], link, user, group, prefix
    )
    return _pax(records) + header if records else header


def _sparse_records(entry: Entry) -> Records:
    return [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", entry.path),
        (b"GNU.sparse.realsize", b"%d" % entry.size),
    ]


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """Divide a name between the two fields for it; None where it fits into neither."""
    if len(name) <= NAME_BYTES:
        return b"", name
    slash = name.rfind(b"/", 0, min(PREFIX_BYTES + 1, len(name) - 1))
    if slash <= 0 or len(name) - slash - 1 > NAME_BYTES:
        return b"", None
    return name[:slash], name[slash + 1 :]


def _owner(name: str, key: bytes, records: Records) -> bytes:
    raw = name.encode()
    if len(raw) >= OWNER_BYTES:
        records.append((key, raw))
        return b""
    return raw


def _pax(records: Records) -> bytes:
    if any(not _is_utf8(value) for key, value in records if key in _NAMES):
        records.insert(0, (b"hdrcharset", b"BINARY"))
    body = b"".join(_record(key, value) for key, value in records)
    header = _ustar(_PAX_NAME, 0o600, 0, 0, len(body), 0, PAX, b"", b"", b"", b"")
    return header + body + padding(len(body))


_NAMES: Final = {b"path", b"linkpath", b"GNU.sparse.name"}


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _record(key: bytes, value: bytes) -> bytes:
    """Return a record, which begins with its own length: that may grow by counting itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _sum(field: bytes) -> int:
    """Return the sum of some bytes: the low half of Adler-32 (RFC 1950) is that, plus one.

    It counts modulo 65,521, which 256 bytes cannot reach.
    """
    return (adler32(field) & 0xFFFF) - 1


def _ustar(  # noqa: PLR0917 - the fields in their order, and called for each file
    name: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, kind: bytes, link: bytes,
    user: bytes, group: bytes, prefix: bytes,
) -> bytes:  # fmt: skip
    before = b"%b%b%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00" % (
        name, bytes(NAME_BYTES - len(name)), mode, uid, gid, size, mtime,
    )  # fmt: skip
    after, counted = second_half(kind, link, user, group, prefix)
    return b"%b%06o\x00 %b" % (before, _sum(before) + counted, after)


@lru_cache(maxsize=256)
def second_half(
    kind: bytes, link: bytes, user: bytes, group: bytes, prefix: bytes
) -> tuple[bytes, int]:
    """Return what follows the checksum, mostly the same from file to file, and its share of it."""
    after = b"".join((
        kind, link.ljust(NAME_BYTES, b"\0"), _SUFFIX, user.ljust(OWNER_BYTES, b"\0"),
        group.ljust(OWNER_BYTES, b"\0"), _DEVICE, prefix.ljust(PREFIX_BYTES, b"\0"), _TAIL,
    ))  # fmt: skip
    return after, sum(after) + sum(_BLANK_CHECKSUM)
