"""Headers of many small files: what does not differ from one to the next is made once."""

from zlib import adler32

from alexandria_backup.bundle.entry import Kind
from alexandria_backup.bundle.headers import (
    MOST_ID,
    MOST_SIZE,
    NAME_BYTES,
    OWNER_BYTES,
    PREFIX_BYTES,
    TYPES,
    second_half,
)


class FileHeaders:
    """Headers of the files of one folder, for many small ones: `headers` gives the same bytes.

    Only what differs from file to file is written anew.
    """

    def __init__(self, folder: bytes) -> None:
        """Begin with the folder's path in the bundle."""
        self._before = folder + b"/"
        self._prefix = folder if len(folder) <= PREFIX_BYTES else None
        #: Names up to this length stand behind their folder, longer ones apart from it.
        self._whole = NAME_BYTES - len(folder) - 1

    def header(self, name: bytes, owner: "FileOwner", size: int, mtime: int) -> bytes | None:
        """Return the header of a file without extended attributes; None where it takes a pax one.

        `size` is at most that of a small file.
        """
        prefix: bytes | None = b""
        if len(name) <= self._whole:
            name = self._before + name
        else:
            prefix = self._prefix
        if prefix is None or owner.numbers is None or len(name) > NAME_BYTES:
            return None
        if not 0 <= mtime <= MOST_SIZE:
            return None
        after, counted = owner.second_half(prefix)
        before = b"%b%b%011o\0%011o\0" % (name.ljust(NAME_BYTES, b"\0"), owner.numbers, size, mtime)
        # The low half of Adler-32 (RFC 1950) is the sum of these bytes, plus one.
        return b"%b%06o\0 %b" % (before, (adler32(before) & 0xFFFF) + counted, after)


class FileOwner:
    """The part of a header that is the same for all files of one owner and mode."""

    def __init__(self, mode: int, uid: int, gid: int, user: str, group: str) -> None:
        self.user, self.group = user.encode(), group.encode()
        fits = max(uid, gid) <= MOST_ID and max(len(self.user), len(self.group)) < OWNER_BYTES
        #: None where something of it does not fit.
        self.numbers = b"%07o\x00%07o\x00%07o\x00" % (mode, uid, gid) if fits else None
        self._seconds: dict[bytes, tuple[bytes, int]] = {}

    def second_half(self, prefix: bytes) -> tuple[bytes, int]:
        """Return what follows the checksum for a prefix, and its share of Adler-32's low half."""
        found = self._seconds.get(prefix)
        if found is None:
            after, counted = second_half(TYPES[Kind.FILE], b"", self.user, self.group, prefix)
            # Of one folder at a time: there may be very many.
            self._seconds = {prefix: (after, counted - 1)}
            found = after, counted - 1
        return found
