"""Reading what goes into a bundle, from files that others may be writing meanwhile.

An entry says what was stored, whatever happened: a file that shrinks is filled up with zeros to the
size that its header has announced already, one that grows is cut there, and the entry names it.
"""

import os
import re
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from fnmatch import translate
from hashlib import sha256
from stat import S_ISLNK, S_ISREG
from typing import Final, TypeAlias

from alexandria_backup.bundle.attributes import attributes_of, entry_of
from alexandria_backup.bundle.entry import Entry, Kind, Problem
from alexandria_backup.bundle.exclusions import Excluder
from alexandria_backup.bundle.found import Found, LeftOut, unreadable
from alexandria_backup.bundle.small import OPEN, SMALL
from alexandria_backup.bundle.sparse import SparseDigest, extents_of
from alexandria_backup.bundle.staging import ATTEMPTS, SQLITE_MAGIC, Staging, same

_CHUNK: Final = 1 << 20
_PAUSE_S: Final = 0.02

#: The entry as its header says it, then its content in chunks; returns what goes into the manifest:
#: the digest and the problem of a large file are known at its end. Or why there is no entry.
Pieces: TypeAlias = Generator["Entry | bytes", None, "Entry | LeftOut"]
_Streamed: TypeAlias = Generator["Entry | bytes", None, Entry]


class Capture:
    """Turns what a walk has found into entries and contents."""

    def __init__(
        self,
        staging: Staging,
        excluder: Excluder,
        settle: tuple[str, ...],
        *,
        sparse: frozenset[bytes] = frozenset(),
        copies: bool = True,
    ) -> None:
        """Read as for a bundle.

        `settle` are patterns of the names of files that are copied until they hold still. `sparse`
        are members that get the digest of a file with holes, whether they have any or not. Without
        `copies` databases are read as they lie there, since nobody uses them.
        """
        self._staging = staging
        self._sparse = sparse
        self._copies = copies
        self._excluder = excluder
        self._settle = re.compile("|".join(translate(p) for p in settle)).match if settle else None
        self._linked: dict[tuple[int, int], bytes] = {}

    def begin_set(self) -> None:
        """Forget the hard links of the set before: each set can be restored without the others."""
        self._linked.clear()

    def read(self, found: Found) -> Pieces:
        """Read a path; see `Pieces`."""
        status = found.status
        try:
            if S_ISREG(status.st_mode):
                return (yield from self._file(found))
            if S_ISLNK(status.st_mode):
                link = os.readlink(os.fsencode(found.path))  # noqa: PTH115 - as bytes
                entry = replace(entry_of(found.member, status, Kind.SYMLINK), link=link)
            else:
                attributes = attributes_of(found.path)
                entry = entry_of(found.member, status, Kind.FOLDER, xattrs=attributes)
        except OSError as exc:
            return unreadable(found.path, exc)
        yield entry
        return entry

    def _file(self, found: Found) -> Pieces:
        several = found.status.st_nlink > 1
        inode = (found.status.st_dev, found.status.st_ino)
        if several and inode in self._linked:
            entry = entry_of(found.member, found.status, Kind.HARDLINK)
            entry = replace(entry, link=self._linked[inode])
            yield entry
            return entry
        descriptor = os.open(found.path, OPEN)
        try:
            taken = yield from self._open_file(found, descriptor)
        finally:
            os.close(descriptor)
        if several and isinstance(taken, Entry):
            self._linked[inode] = found.member
        return taken

    def _open_file(self, found: Found, descriptor: int) -> Pieces:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            return LeftOut(path=found.path, why="became another thing than a file", problem=True)
        if status.st_size <= SMALL:
            return (yield from self._small(found, descriptor, status))
        magic = os.pread(descriptor, len(SQLITE_MAGIC), 0)
        if magic == SQLITE_MAGIC and self._copies:
            return (yield from self._database(found, descriptor, status))
        entry = entry_of(found.member, status, Kind.FILE, xattrs=attributes_of(descriptor))
        if self._settle is not None and self._settle(os.path.basename(found.path)):  # noqa: PTH119
            with self._staging.settled(descriptor) as (copy, still):
                problem = None if still else Problem.CHANGED
                return (yield from _from_copy(str(copy), entry, problem))
        return (yield from _stream(descriptor, status, entry, sparse=found.member in self._sparse))

    def _small(self, found: Found, descriptor: int, status: os.stat_result) -> Pieces:
        data, still = _read_small(descriptor, status)
        if data.startswith(SQLITE_MAGIC) and self._copies:
            return (yield from self._database(found, descriptor, status))
        why = self._excluder.why_content(data)
        if why is not None:
            return LeftOut(path=found.path, why=why)
        entry = entry_of(
            found.member, status if still else os.fstat(descriptor), Kind.FILE, size=len(data),
            sha=sha256(data).hexdigest(), xattrs=attributes_of(descriptor),
            problem=None if still else Problem.CHANGED,
        )  # fmt: skip
        yield entry
        yield data
        return entry

    def _database(self, found: Found, descriptor: int, status: os.stat_result) -> _Streamed:
        entry = entry_of(found.member, status, Kind.FILE, xattrs=attributes_of(descriptor))
        with self._staging.database(found.path) as copy:
            if copy is not None:
                return (yield from _from_copy(str(copy), entry, None))
        return (yield from _from_copy(found.path, entry, Problem.NOT_CONSISTENT))


def _read_small(descriptor: int, status: os.stat_result) -> tuple[bytes, bool]:
    """Return the content of a file, and whether it held still while it was read."""
    data, before = b"", status
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S * 2**attempt)
            before = os.fstat(descriptor)
        data = os.pread(descriptor, min(before.st_size, SMALL) + 1, 0)[:SMALL]
        if len(data) == before.st_size and same(before, os.fstat(descriptor)):
            return data, True
    return data, False


def _from_copy(path: str, entry: Entry, problem: Problem | None) -> _Streamed:
    descriptor = os.open(path, OPEN)
    try:
        status = os.fstat(descriptor)
        streamed = yield from _stream(descriptor, status, entry)
    finally:
        os.close(descriptor)
    return replace(streamed, problem=problem or streamed.problem)


def _stream(
    descriptor: int, status: os.stat_result, entry: Entry, *, sparse: bool = False
) -> _Streamed:
    """Give a file of any size as it is read; its size is the one of `status`, come what may."""
    size = status.st_size
    found = extents_of(descriptor, size, status.st_blocks) if size > SMALL else None
    if found is None and sparse:
        found = ((0, size),)
    entry = replace(entry, size=size, extents=found)
    digest = sha256() if found is None else SparseDigest(found, size)
    yield entry
    problem = None
    for offset, length in ((0, size),) if found is None else found:
        for chunk in _exactly(descriptor, offset, length):
            if isinstance(chunk, Problem):
                problem = problem or chunk
                continue
            digest.update(chunk)
            yield chunk
    after = os.fstat(descriptor)
    if problem is None and not same(status, after):
        problem = Problem.GREW if after.st_size > size else Problem.CHANGED
    return replace(entry, sha256=digest.hexdigest(), problem=problem)


def _exactly(descriptor: int, offset: int, length: int) -> Iterator[bytes | Problem]:
    """Give `length` bytes from `offset` on; what is not there is a problem, and then zeros."""
    while length:
        try:
            chunk = os.pread(descriptor, min(length, _CHUNK), offset)
        except OSError:
            yield Problem.UNREADABLE
            yield from _zeros(length)
            return
        if not chunk:
            yield Problem.SHRANK
            yield from _zeros(length)
            return
        yield chunk
        offset += len(chunk)
        length -= len(chunk)


def _zeros(length: int) -> Iterator[bytes]:
    block = bytes(_CHUNK)
    while length:
        yield block[:length]
        length -= min(length, _CHUNK)
