"""Reading a tar strictly: only what a bundle may hold, in the one form in which it is written."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from alexandria_backup.bundle.entry import Entry, Kind, shown
from alexandria_backup.bundle.headers import (
    BLOCK,
    MANIFEST_NAME,
    PAX,
    TYPES,
    ZERO_BLOCK,
    data_size,
    headers,
    manifest_header,
    padding,
    parse_records,
)
from alexandria_backup.bundle.sparse import decode_map
from alexandria_backup.bundle.tar_stream import TarStream
from alexandria_backup.errors import BundleDamaged

#: Linux allows 64 KiB for the extended attributes of a file, and names of 4 KiB.
_MOST_PAX: Final = 1 << 20
_MOST_MAP: Final = 4 << 20
_KINDS: Final = {flag: kind for kind, flag in TYPES.items()}
_XATTR: Final = b"SCHILY.xattr."
_KNOWN: Final = {
    b"hdrcharset", b"path", b"linkpath", b"uid", b"gid", b"size", b"mtime", b"uname", b"gname",
    b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.realsize",
}  # fmt: skip
_REFUSED: Final = {
    b"3": "a character device", b"4": "a block device", b"6": "a named pipe",
    b"7": "a contiguous file", b"g": "a global header", b"L": "a long name of GNU tar",
    b"K": "a long link of GNU tar", b"S": "an old sparse file of GNU tar",
    b"V": "a volume label", b"M": "a continued file", b"D": "a folder dump",
    b"\0": "a member of an ancient tar",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member as its header tells it: the digest is not known before its content was read."""

    entry: Entry
    #: Bytes of content that follow: for a sparse file without its holes.
    stored: int


@dataclass(frozen=True, kw_only=True)
class ManifestMember:
    """The last member."""

    size: int
    #: Where the block begins in the packed stream; None where it does not begin with one.
    offset: int | None
    #: Where it begins in the tar.
    raw_offset: int


def next_member(tar: TarStream) -> Member | ManifestMember:
    """Read the header of the next member; BundleDamaged where a bundle holds no such one."""
    offset, raw_offset = tar.block_offset(), tar.offset
    block = tar.read(BLOCK)
    raw, records = block, {}
    if block[156:157] == PAX:
        body = _pax_body(tar, block)
        raw += body
        records = _records(body[: _octal(block[124:136])])
        block = tar.read(BLOCK)
        raw += block
    if block == ZERO_BLOCK:
        raise BundleDamaged("the tar ends before its manifest")
    kind = _kind(block)
    if block.startswith(MANIFEST_NAME + b"\0"):
        return _manifest_member(block, raw, offset, raw_offset)
    entry, stored = _entry(block, records, kind)
    if b"GNU.sparse.major" in records:
        mapped, text = _map(tar, stored, entry.size)
        raw += text
        entry = replace(entry, extents=mapped)
        stored -= len(text)
    _check_path(entry.path)
    if entry.kind is Kind.HARDLINK:
        _check_path(entry.link)
    if headers(entry) != raw or (kind is Kind.FILE and stored != data_size(entry)):
        raise BundleDamaged(f"the header of `{entry.shown}` is not in canonical form")
    return Member(entry=entry, stored=stored)


def content(tar: TarStream, member: Member) -> Iterator[bytes]:
    """Give a member's content, and read the padding behind it."""
    yield from tar.chunks(member.stored)
    check_padding(tar, member.stored)


def check_padding(tar: TarStream, size: int) -> None:
    """Read what fills content of `size` up to whole blocks; BundleDamaged where it is not empty."""
    blank = padding(size)
    if blank and tar.read(len(blank)) != blank:
        raise BundleDamaged("something is hidden behind the content of a member")


def check_end(tar: TarStream) -> None:
    """Read the end of the archive; BundleDamaged where anything follows."""
    if tar.read(2 * BLOCK) != 2 * ZERO_BLOCK:
        raise BundleDamaged("a member follows the manifest, which must be the last")
    if not tar.over():
        raise BundleDamaged("something follows the end of the tar")


def _pax_body(tar: TarStream, block: bytes) -> bytes:
    size = _octal(block[124:136])
    if size > _MOST_PAX:
        raise BundleDamaged(f"a pax header claims {size:,} bytes, more than any can have")
    return tar.read(size + len(padding(size)))


def _records(body: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    try:
        for key, value in parse_records(body):
            if key in found:
                raise BundleDamaged(f"a pax header says `{shown(key)}` twice")
            if key not in _KNOWN and not key.startswith(_XATTR):
                raise BundleDamaged(f"a pax header has the unknown record `{shown(key)}`")
            found[key] = value
    except ValueError as exc:
        raise BundleDamaged("a pax header is malformed") from exc
    return found


def _kind(block: bytes) -> Kind:
    flag = block[156:157]
    if flag in _KINDS:
        return _KINDS[flag]
    name = shown(block[:100].rstrip(b"\0"))
    what = _REFUSED.get(flag, f"a member of type {flag!a}")
    raise BundleDamaged(f"`{name}` is {what}, which no bundle holds")


def _manifest_member(
    block: bytes, raw: bytes, offset: int | None, raw_offset: int
) -> ManifestMember:
    size = _octal(block[124:136])
    if raw != manifest_header(size, _octal(block[136:148])):
        raise BundleDamaged("the header of the manifest is not in canonical form")
    return ManifestMember(size=size, offset=offset, raw_offset=raw_offset)


def _entry(block: bytes, records: dict[bytes, bytes], kind: Kind) -> tuple[Entry, int]:
    """Return what a header says, and how many bytes follow it."""
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or _name(block)
    if kind is Kind.FOLDER:
        if not name.endswith(b"/"):
            raise BundleDamaged(f"the folder `{shown(name)}` is not named as one")
        name = name[:-1]
    size = _number(records, b"size", block[124:136])
    try:
        entry = Entry(
            path=name,
            kind=kind,
            mode=_octal(block[100:108]),
            uid=_number(records, b"uid", block[108:116]),
            gid=_number(records, b"gid", block[116:124]),
            user=records.get(b"uname", _text(block[265:297])).decode(),
            group=records.get(b"gname", _text(block[297:329])).decode(),
            mtime=_number(records, b"mtime", block[136:148]),
            size=int(records.get(b"GNU.sparse.realsize", size)) if kind is Kind.FILE else 0,
            link=records.get(b"linkpath", _text(block[157:257])),
            xattrs=tuple(
                (key.removeprefix(_XATTR).decode(), value)
                for key, value in records.items()
                if key.startswith(_XATTR)
            ),
        )
    except ValueError as exc:
        raise BundleDamaged(f"the header of `{shown(name)}` is malformed") from exc
    if kind is not Kind.FILE and size:
        raise BundleDamaged(f"`{shown(name)}` is a {kind} and claims to have content")
    if kind not in {Kind.SYMLINK, Kind.HARDLINK} and entry.link:
        raise BundleDamaged(f"`{shown(name)}` is a {kind} and claims to lead elsewhere")
    return entry, size


def _map(tar: TarStream, stored: int, size: int) -> tuple[tuple[tuple[int, int], ...], bytes]:
    """Read the map of a sparse file: decimal numbers, a line each, in whole blocks."""
    text = tar.read(BLOCK)
    count, feed, _ = text.partition(b"\n")
    if not feed or not count.isdigit() or len(count) > 7:
        raise BundleDamaged("the map of a sparse file is malformed")
    while text.count(b"\n") < 1 + 2 * int(count):
        if len(text) >= min(stored, _MOST_MAP):
            raise BundleDamaged("the map of a sparse file is longer than it can be")
        text += tar.read(BLOCK)
    return decode_map(text, size), text


def _check_path(path: bytes) -> None:
    """Refuse a path that could lead out of where it belongs, or that is none."""
    parts = path.split(b"/")
    if path.startswith(b"/"):
        _refuse(path, "it is absolute")
    if any(part in {b"", b".", b".."} for part in parts):
        _refuse(path, "it climbs out, or has empty parts")
    if len(parts) < 2:
        _refuse(path, "it belongs to no set")
    if b"\0" in path or len(path) > 4096 or any(len(part) > 255 for part in parts):
        _refuse(path, "no file can have this name")


def _refuse(path: bytes, why: str) -> NoReturn:
    raise BundleDamaged(f"the path `{shown(path)[:200]}` is refused: {why}")


def _name(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), _text(block[345:500])
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(records: dict[bytes, bytes], key: bytes, field: bytes) -> int:
    if key not in records:
        return _octal(field)
    try:
        return int(records[key])
    except ValueError as exc:
        raise BundleDamaged(f"the pax record `{shown(key)}` is not a number") from exc


def _octal(field: bytes) -> int:
    try:
        return int(field.rstrip(b"\0"), 8)
    except ValueError as exc:
        raise BundleDamaged("a number of a tar header is malformed") from exc
