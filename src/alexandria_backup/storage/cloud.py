"""Objects in S3, Google Cloud Storage or Azure, through obstore.

Identities come from the environment and the machine, as each cloud's own tools find them. Long
reads are ranged requests, so that no connection waits for a slow reader and none is cut unseen;
long writes are multipart uploads, which show nothing before they are complete.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import GenericError
from obstore.store import ObjectStore as Client

from alexandria_backup.errors import ObjectExists, ObjectMissing, StorageError
from alexandria_backup.storage.cloud_errors import (
    VENDOR_ERRORS,
    ignores_ranges,
    status_of,
    translated,
)
from alexandria_backup.storage.store import ObjectInfo, check_name, check_prefix

if TYPE_CHECKING:  # obstore has these two in its stubs alone
    from obstore import GetOptions, ObjectMeta

_MIB = 1024 * 1024
_RANGE = 8 * _MIB
#: What is sent in a moment.
_SMALL = _MIB
#: No part is smaller, so that 10,000 parts (S3's limit) carry 312 GiB.
_SMALLEST_PART = 32 * _MIB
#: Of an object of unknown size: 10,000 such parts carry 625 GiB.
_UNKNOWN_PART = 64 * _MIB
#: Half of S3's 10,000: an estimate may be too low by half.
_PARTS = 5000
#: What parts on their way may hold in memory together, while there is more than one.
_IN_FLIGHT = 96 * _MIB


class CloudStore:
    """An `ObjectStore` under a prefix of a bucket or container.

    A put is conditional where the server honours `If-None-Match`, and asks beforehand everywhere;
    a stream above one part asks at its beginning and at its end.
    """

    def __init__(self, client: Client, *, uploads: Client, url: str, prefix: str = "") -> None:
        #: Patient enough for an answer, and `uploads` for one that comes when much has been sent.
        self._client = client
        self._uploads = uploads
        self._prefix = f"{prefix}/" if prefix else ""
        self.url = url

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        check_name(name)
        self._refuse_existing(name)
        self._put(name, data)

    def put_stream(
        self, name: str, chunks: Iterable[bytes], *, expected_size: int | None = None
    ) -> int:
        """See `ObjectStore.put_stream`.

        A stream that fits one part is one conditional request. A multipart upload that fails is
        aborted; what the server still keeps of it (the connection is lost for good, or a part was
        on its way) is never visible, and cleared by the bucket's rule for abandoned uploads.
        """
        check_name(name)
        self._refuse_existing(name)
        part = part_size(expected_size)
        rest = iter(chunks)
        head = deque[bytes]()
        size = 0
        for chunk in rest:
            head.append(bytes(chunk))
            size += len(chunk)
            if size > part:
                return size + self._upload(name, head, rest, part)
        self._put(name, b"".join(head))
        return size

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        check_name(name)
        with translated(f"`{name}` could not be read from `{self.url}`"):
            answer = obstore.get(self._client, self._prefix + name)
            data = bytes(answer.bytes())
        self._check(name, len(data), answer.meta["size"])
        return data

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        check_name(name)
        key = self._prefix + name
        what = f"`{name}` could not be read from `{self.url}`"
        with translated(what):
            meta = obstore.head(self._client, key)
        size = meta["size"]
        for position in range(start, size, _RANGE):
            end = min(position + _RANGE, size)
            options: GetOptions = {} if end - position == size else {"range": (position, end)}
            if meta["e_tag"] is not None:
                options["if_match"] = meta["e_tag"]
            with translated(what):
                try:
                    data = bytes(obstore.get(self._client, key, options=options).bytes())
                except GenericError as error:
                    if position > start or not ignores_ranges(error):
                        raise
                    break
            self._check(name, len(data), end - position)
            yield data
        else:
            return
        # The store gives whole objects only: what comes before is read and dropped.
        for chunk in self._stream(name, size):
            wanted = chunk[max(0, start) :]
            start -= len(chunk)
            if wanted:
                yield wanted

    def head(self, name: str) -> ObjectInfo | None:
        """See `ObjectStore.head`; a bucket that is missing cannot be told from a missing object."""
        check_name(name)
        try:
            with translated(f"`{name}` could not be examined in `{self.url}`"):
                meta = obstore.head(self._client, self._prefix + name)
        except ObjectMissing:
            return None
        return self._info(meta)

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        check_prefix(prefix)
        whole = self._prefix + prefix
        # obstore's prefixes are folders: list the one around ours, and choose from it.
        folder = whole.rpartition("/")[0] or None
        with translated(f"`{self.url}` could not be listed"):
            if recursive:
                pages: Iterator[Iterable[ObjectMeta]] = iter(obstore.list(self._client, folder))
            else:
                pages = iter([obstore.list_with_delimiter(self._client, folder)["objects"]])
        while (page := self._next(pages)) is not None:
            for meta in page:
                if meta["path"].startswith(whole):
                    yield self._info(meta)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        check_name(name)
        try:
            with translated(f"`{name}` could not be removed from `{self.url}`"):
                obstore.delete(self._client, self._prefix + name)
        except ObjectMissing:
            return

    def local_path(self, name: str) -> Path | None:
        """See `ObjectStore.local_path`."""
        check_name(name)
        return None

    def free_bytes(self) -> int | None:
        """See `ObjectStore.free_bytes`."""
        return None

    def _stream(self, name: str, size: int) -> Iterator[bytes]:
        """Give an object as one long answer, for servers that know no ranges."""
        what = f"`{name}` could not be read from `{self.url}`"
        with translated(what):
            chunks = obstore.get(self._client, self._prefix + name).stream(_MIB)
        done = 0
        while True:
            with translated(what):
                chunk = bytes(next(chunks, b""))
            if not chunk:
                break
            done += len(chunk)
            for start in range(0, len(chunk), _RANGE):
                yield chunk[start : start + _RANGE]
        self._check(name, done, size)

    def _put(self, name: str, data: bytes) -> None:
        key = self._prefix + name
        client = self._client if len(data) <= _SMALL else self._uploads
        with translated(f"`{name}` could not be stored in `{self.url}`"):
            try:
                obstore.put(client, key, data, mode="create", use_multipart=False)
            except (NotImplementedError, GenericError) as error:
                # Servers without conditions: what was asked beforehand has to do.
                if isinstance(error, GenericError) and status_of(error) != 501:
                    raise
                obstore.put(client, key, data, use_multipart=False)

    def _upload(self, name: str, head: deque[bytes], rest: Iterator[bytes], part: int) -> int:
        """Send `head` and `rest` as one multipart upload; return the bytes of `rest`.

        `rest` is asked outside of obstore: it may read from another store, which would be a call
        of obstore within one, and that panics.
        """
        what = f"`{name}` could not be stored in `{self.url}`"
        with translated(what):
            writer = obstore.open_writer(
                self._uploads,
                self._prefix + name,
                buffer_size=part,
                max_concurrency=max(1, min(8, _IN_FLIGHT // part)),
            )
        size = 0
        try:
            while head:
                with translated(what):
                    writer.write(head.popleft())
            for chunk in rest:
                with translated(what):
                    size += writer.write(chunk)
            self._refuse_existing(name)  # another writer may have been faster
            with translated(what):
                writer.close()
        except BaseException as error:
            # An abort that fails as well (the connection is gone) must not hide what came first.
            with suppress(*VENDOR_ERRORS):
                writer.__exit__(type(error), error, error.__traceback__)
            raise
        return size

    def _refuse_existing(self, name: str) -> None:
        if self.head(name) is not None:
            raise ObjectExists(f"`{name}` exists already in `{self.url}`")

    def _next(self, pages: "Iterator[Iterable[ObjectMeta]]") -> "Iterable[ObjectMeta] | None":
        with translated(f"`{self.url}` could not be listed"):
            return next(pages, None)

    def _info(self, meta: "ObjectMeta") -> ObjectInfo:
        name = meta["path"].removeprefix(self._prefix)
        return ObjectInfo(name=name, size=meta["size"], modified=meta["last_modified"])

    def _check(self, name: str, given: int, due: int) -> None:
        if given != due:
            raise StorageError(f"`{name}` in `{self.url}` gave {given} bytes where {due} were due")


def part_size(expected_size: int | None) -> int:
    """Return the bytes of one part, so that 10,000 parts suffice for twice the estimate."""
    if expected_size is None:
        return _UNKNOWN_PART
    needed = -(-expected_size // _PARTS)
    return max(_SMALLEST_PART, -(-needed // _MIB) * _MIB)
