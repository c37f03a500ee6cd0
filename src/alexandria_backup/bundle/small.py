"""Small files, many of them: read folder by folder, with what does not differ made once.

Each costs one open, two looks and one read, by its name in the open folder: no path is resolved
anew, and no link that is put in a folder's place leads elsewhere. What is not plain (a database, a
file with two names, one that does not hold still) is left to `capture.py`, path by path.
"""

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from stat import S_IMODE, S_ISREG
from typing import Final

from alexandria_backup.bundle.attributes import attributes_of, entry_of, group_of, user_of
from alexandria_backup.bundle.entry import BETWEEN, FileLines, Kind, owned
from alexandria_backup.bundle.exclusions import Excluder
from alexandria_backup.bundle.file_headers import FileHeaders, FileOwner
from alexandria_backup.bundle.found import FOLDER, Files, room_taken
from alexandria_backup.bundle.headers import BLOCK, headers
from alexandria_backup.bundle.staging import SQLITE_MAGIC

#: Files up to this size are read at once, and again where they have changed meanwhile.
SMALL: Final = 1 << 20
#: How a file is opened that may have become a link, or a pipe that nobody writes to.
OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_BATCH: Final = 1 << 20
_BILLION: Final = 1_000_000_000
_PADDING: Final = tuple(bytes(length) for length in range(BLOCK))


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Files that were read, as they go into the bundle."""

    #: Header, content and padding of each, joined.
    members: bytes
    #: What the manifest says of each, joined as it joins them.
    lines: bytes
    entries: int
    #: Bytes of their content.
    size: int


@dataclass(kw_only=True, slots=True)
class _Filling:
    """A batch while files are added."""

    members: list[bytes] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    size: int = 0

    def batch(self) -> Batch:
        return Batch(
            members=b"".join(self.members),
            lines=BETWEEN.join(self.lines).encode(),
            entries=len(self.lines),
            size=self.size,
        )


class SmallFiles:
    """Reads what can be read at once."""

    def __init__(self, excluder: Excluder) -> None:
        self._excluder = excluder
        self._owners: dict[tuple[int, int, int], tuple[FileOwner, str]] = {}

    def read(self, files: Files) -> Iterator[Batch | str]:
        """Give batches in order, and between them the names of files that are none of these."""
        try:
            reader = _Folder(files, self._excluder, self._owners)
        except (OSError, UnicodeError):
            yield from files.names
            return
        with closing(reader):
            filling = _Filling()
            for name in files.names:
                taken = reader.read(name, filling)
                if filling.lines and (not taken or filling.size >= _BATCH):
                    yield filling.batch()
                    filling = _Filling()
                if not taken:
                    yield name
            if filling.lines:
                yield filling.batch()

    def measured(self, files: Files) -> Iterator[int]:
        """Give the bytes that files take, without holes; what cannot be looked at takes none."""
        total = 0
        with suppress(OSError):
            descriptor = os.open(files.path, FOLDER)
            try:
                for name in files.names:
                    total += _room_of(name, descriptor)
            finally:
                os.close(descriptor)
        yield total


class _Folder:
    """An open folder, and what its files have in common."""

    def __init__(
        self,
        files: Files,
        excluder: Excluder,
        owners: dict[tuple[int, int, int], tuple[FileOwner, str]],
    ) -> None:
        self._excluder = excluder
        self._owners = owners
        self._member = files.member
        self._headers = FileHeaders(files.member)
        self._lines = FileLines(files.member)
        self._descriptor = os.open(files.path, FOLDER)
        status = os.fstat(self._descriptor)
        if (status.st_dev, status.st_ino) != files.folder:
            self.close()
            raise NotADirectoryError(files.path)

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self, name: str, filling: _Filling) -> bool:
        """Add a file to a batch; False where it is not one to be read at once."""
        try:
            raw = name.encode()
            descriptor = os.open(name, OPEN, dir_fd=self._descriptor)
        except (OSError, UnicodeError):
            return False
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            if size > SMALL or status.st_nlink != 1 or not S_ISREG(status.st_mode):
                return False
            data = os.pread(descriptor, size + 1, 0)
            attributes = attributes_of(descriptor)
            after = os.fstat(descriptor)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        mtime_ns = status.st_mtime_ns
        if len(data) != size or after.st_size != size or after.st_mtime_ns != mtime_ns:
            return False
        if data.startswith(SQLITE_MAGIC) or self._excluder.leaves_out(status, data):
            return False
        digest = sha256(data).hexdigest()
        key = (status.st_mode, status.st_uid, status.st_gid)
        owner, said = self._owners.get(key) or self._owner(key)
        header = self._headers.header(raw, owner, size, mtime_ns // _BILLION)
        if attributes or header is None:
            member = self._member + b"/" + raw
            entry = entry_of(member, status, Kind.FILE, size=size, sha=digest, xattrs=attributes)
            header, line = headers(entry), entry.line().decode()
        else:
            line = self._lines.line(name, said, size, digest, mtime_ns)
        filling.members += (header, data, _PADDING[-size % BLOCK])
        filling.lines.append(line)
        filling.size += size
        return True

    def _owner(self, key: tuple[int, int, int]) -> tuple[FileOwner, str]:
        mode, uid, gid = S_IMODE(key[0]), key[1], key[2]
        fields = (mode, uid, gid, user_of(uid), group_of(gid))
        known = self._owners[key] = (FileOwner(*fields), owned(*fields))
        return known


def _room_of(name: str, folder: int) -> int:
    try:
        return room_taken(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return 0
