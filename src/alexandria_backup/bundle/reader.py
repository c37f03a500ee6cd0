"""The one reader of bundles: verify, restore, diff and show all see what this has let through.

It reads the tar strictly and to its end, computes each digest on the way, and compares every member
with the manifest. What is no bundle, or could do harm, is refused at once (BundleDamaged); where
members are well-formed and not what the manifest says, each difference is told.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Final

from alexandria_backup.bundle.differences import Difference, differences
from alexandria_backup.bundle.entry import Entry, Kind, agrees
from alexandria_backup.bundle.entry_parsing import parse
from alexandria_backup.bundle.manifest import BundleManifest, read_manifest
from alexandria_backup.bundle.members import (
    ManifestMember,
    check_end,
    check_padding,
    content,
    next_member,
)
from alexandria_backup.bundle.nesting import Nesting
from alexandria_backup.bundle.source import BundleSource
from alexandria_backup.bundle.sparse import SparseDigest
from alexandria_backup.bundle.spool import LineSpool
from alexandria_backup.bundle.tar_stream import TarStream
from alexandria_backup.errors import BundleDamaged
from alexandria_backup.events import Emit, Progress, discard
from alexandria_backup.sealing.blocks import Unpacked, marked_offset

#: No manifest is longer: it would describe ten million files.
_MOST_MANIFEST: Final = 4 << 30
_MOST_DIFFERENCES: Final = 10_000
_PROGRESS_EVERY: Final = 8 << 20

#: Takes a member and its content, which it need not read.
Visit = Callable[[Entry, Iterator[bytes]], None]


@dataclass(frozen=True, kw_only=True)
class BundleRead:
    """A bundle that was read to its end."""

    manifest: BundleManifest
    #: Members that are not what the manifest says, at most 10,000.
    differences: tuple[Difference, ...]
    #: Bytes of the file as it was opened: unsealed, still packed.
    packed_bytes: int
    #: Bytes of the tar.
    raw_bytes: int


def skip(entry: Entry, chunks: Iterator[bytes]) -> None:
    """Visit a member without looking at it."""


def read_bundle(
    source: BundleSource, visit: Visit = skip, *, limit: int | None = None, emit: Emit = discard
) -> BundleRead:
    """Read a bundle to its last byte; BundleDamaged where it is none, or was cut off or altered.

    `limit` is how many bytes may come before the manifest, where one is known already.
    """
    if limit is None and source.seekable:
        limit = manifest_from_end(source).tail.raw_bytes
    unpacked = Unpacked(source.chunks())
    tar = TarStream(unpacked)
    reading = _Reading(tar, visit, limit, emit, source.size)
    last = reading.members(unpacked)
    manifest = _manifest(tar, last)
    check_end(tar)
    _check_anchor(unpacked, last, manifest)
    _check_roots(manifest, reading.nesting.roots)
    found = tuple(islice(_compare(manifest, reading.lines), _MOST_DIFFERENCES))
    return BundleRead(
        manifest=manifest, differences=found, packed_bytes=unpacked.packed, raw_bytes=unpacked.raw
    )


def manifest_from_end(source: BundleSource) -> BundleManifest:
    """Return the manifest of a seekable bundle without reading the rest of it."""
    end, size = source.end()
    offset = marked_offset(end)
    if offset >= size:
        raise BundleDamaged("the end of the file says that the manifest lies behind it")
    tar = TarStream(Unpacked(source.chunks_from(offset)))
    last = next_member(tar)
    if not isinstance(last, ManifestMember):
        raise BundleDamaged("what the end of the file points to is not its manifest")
    manifest = _manifest(tar, last)
    check_end(tar)
    return manifest


class _Reading:
    """Members one after the other, and a line for each as a manifest would say it."""

    def __init__(
        self, tar: TarStream, visit: Visit, limit: int | None, emit: Emit, total: int | None
    ) -> None:
        self._tar = tar
        self._visit = visit
        self._limit = limit
        self._emit = emit
        self._total = total
        self._told = 0
        self.nesting = Nesting()
        self.lines = LineSpool()

    def members(self, unpacked: Unpacked) -> ManifestMember:
        """Read all members up to the manifest."""
        while True:
            member = next_member(self._tar)
            if isinstance(member, ManifestMember):
                return member
            self.nesting.check(member.entry)
            self._check_limit(member.stored)
            entry = member.entry
            if entry.kind is Kind.FILE:
                entry = self._file(entry, content(self._tar, member))
            else:
                self._visit(entry, iter(()))
            self.lines.add(entry.line())
            if unpacked.packed - self._told >= _PROGRESS_EVERY:
                self._told = unpacked.packed
                self._emit(
                    Progress(work="read", done=unpacked.packed, total=self._total, unit="bytes")
                )

    def _file(self, entry: Entry, chunks: Iterator[bytes]) -> Entry:
        """Let a file be visited, and compute its digest whether or not it was read."""
        digest = sha256() if entry.extents is None else SparseDigest(entry.extents, entry.size)

        def watched() -> Iterator[bytes]:
            for chunk in chunks:
                digest.update(chunk)
                yield chunk

        rest = watched()
        self._visit(entry, rest)
        for _ in rest:
            pass
        return replace(entry, sha256=digest.hexdigest())

    def _check_limit(self, stored: int) -> None:
        if self._limit is not None and self._tar.offset + stored > self._limit:
            raise BundleDamaged(
                f"the members have more than the {self._limit:,} bytes that the manifest says"
            )


def _manifest(tar: TarStream, member: ManifestMember) -> BundleManifest:
    if member.size > _MOST_MANIFEST:
        raise BundleDamaged(f"the manifest claims {member.size:,} bytes, more than any can have")
    chunks = tar.chunks(member.size)
    manifest = read_manifest(chunks)
    for _ in chunks:
        raise BundleDamaged("something follows the seal of the manifest")
    check_padding(tar, member.size)
    return manifest


def _check_anchor(unpacked: Unpacked, last: ManifestMember, manifest: BundleManifest) -> None:
    if last.offset is None or marked_offset(unpacked.end) != last.offset:
        raise BundleDamaged("the manifest is not where the end of the file says")
    if last.raw_offset != manifest.tail.raw_bytes:
        raise BundleDamaged(
            f"{last.raw_offset:,} bytes come before the manifest, which says that it is "
            f"{manifest.tail.raw_bytes:,}"
        )


def _check_roots(manifest: BundleManifest, found: list[bytes]) -> None:
    """Compare what lies in no other member with the roots that a restore would swap."""
    told = {f"{name}{root}".encode() for name, root in manifest.head.roots}
    for path in found:
        if path not in told:
            raise BundleDamaged(f"a member lies outside of what its set is said to hold: {path!a}")


def _compare(manifest: BundleManifest, lines: LineSpool) -> Iterator[Difference]:
    """Compare line by line; only where two differ are the entries themselves looked at."""
    told, read = iter(manifest.lines), iter(lines)
    if manifest.lines.lines == lines.lines:
        for one, other in zip(told, read, strict=True):
            if not agrees(one, other):
                break
        else:
            return iter(())
    members = (parse(line) for line in lines)
    return differences((entry.as_member() for entry in manifest.entries()), members)
