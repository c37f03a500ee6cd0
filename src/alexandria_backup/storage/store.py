"""The port to places that keep objects: what every store promises, and the names it takes.

An object is immutable: it is made once, read whole and deleted; nothing is ever overwritten. A
name is relative, its parts are separated by `/`, and the same name means the same object in every
store. Stores may be shared by threads; none may be shared by processes (open one in each).

All verbs raise `StorageError` or one of its children (`StoreUnreachable`, `StoreDenied`,
`StoreFull`, `ObjectMissing`, `ObjectExists`), and `UsageError` for a name that is refused.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from alexandria_backup.errors import UsageError

#: The end of the names of unfinished files; no object may be named so.
PART_SUFFIX = ".part"

#: What the XML of S3 cannot carry, and no terminal should be shown.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What a store knows about an object without reading it."""

    name: str
    #: Bytes.
    size: int
    #: When it was stored, by the store's own clock, in UTC.
    modified: datetime


class ObjectStore(Protocol):
    """A place for immutable objects."""

    @property
    def url(self) -> str:
        """The place in a form that may be shown: it never holds a credential."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Store a small object in one go: whole and durable when this returns, or not at all.

        Raises `ObjectExists`, and changes nothing, where there is one of this name; so a second
        call fails. Some servers ignore the condition of a put: two writers of one name at the same
        instant may then both succeed, so names are digests or random and the caller reads back.
        """
        ...

    def put_stream(
        self, name: str, chunks: Iterable[bytes], *, expected_size: int | None = None
    ) -> int:
        """Store a large object as its bytes come, with no temporary copy elsewhere; return bytes.

        The object appears whole at the end, or not at all: also when `chunks` raises, which comes
        through as it was raised. `expected_size` is an estimate in bytes, never a limit or a
        check: it chooses the size of parts, and may be too low by half. Raises `ObjectExists` as
        `put` does: before the first chunk is taken, or at the end where another writer was faster.
        """
        ...

    def get(self, name: str) -> bytes:
        """Return a small object whole. Raises `ObjectMissing`."""
        ...

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """Give an object from `start` on in chunks of at most 8 MiB, in order, none of them empty.

        Raises `ObjectMissing` before the first chunk, and `StorageError` where the stream ends
        before the object does: an end without an error is the whole object. At or behind its end
        there is nothing to give. Close the iterator to
        stop early.
        """
        ...

    def head(self, name: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where the store says that there is none."""
        ...

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Give every object whose name begins with `prefix`, in no promised order.

        `prefix` is text, not a folder: `a/b` begins `a/b`, `a/bc` and `a/b/c`. Without `recursive`,
        names that have a `/` after the prefix are left out, and what lies there is not visited.
        A listing ends without an error only if it is complete. No match is an empty listing; a
        place that is not there at all (a folder not made or not mounted) is a `StorageError`.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object; one that is absent is fine, so a second call is, too."""
        ...

    def local_path(self, name: str) -> Path | None:
        """Return the object as a file of this machine, for tools that can read nothing else.

        None where the store does not keep files, or has none of this name. Never write to it.
        """
        ...

    def free_bytes(self) -> int | None:
        """Return how many bytes still fit, or None where that is unlimited or unknown."""
        ...


def check_name(name: str) -> None:
    """Refuse a name that could leave the store, or that not every store can keep.

    Names come from manifests, too, and those may be hostile. Refused with `UsageError`: an empty
    name, an absolute one, empty parts, `.` and `..`, control characters, text that is not valid
    Unicode, parts above 255 bytes, names above 1,000 bytes, and the ending `.part`.
    """
    reason = _objection(name)
    if reason:
        raise UsageError(f"the object name {name!a} is refused: {reason}")


def check_prefix(prefix: str) -> None:
    """Refuse a prefix with which no name can begin; the empty one and `folder/` are fine."""
    reason = _objection_to_text(prefix.removesuffix("/")) if prefix else None
    if reason:
        raise UsageError(f"the prefix {prefix!a} is refused: {reason}")


def is_name(name: str) -> bool:
    """Tell whether `check_name` accepts this name."""
    return _objection(name) is None


def _objection(name: str) -> str | None:
    if name.endswith(PART_SUFFIX):
        return f"`{PART_SUFFIX}` marks unfinished files"
    return _objection_to_text(name)


def _objection_to_text(text: str) -> str | None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    parts = text.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "empty parts, `.` and `..` are not allowed"
    if _UNPRINTABLE.search(text):
        return "control characters are not allowed"
    # 255 bytes: every local file system; 1,024: S3 and GCS, less some room for a store's prefix.
    if size > 1000 or any(len(part.encode()) > 255 for part in parts):
        return "it is too long"
    return None
