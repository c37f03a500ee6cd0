"""Objects in S3, Google Cloud Storage or Azure, through obstore.

Identities come from the environment and the machine, as each cloud's own tools find them. Long
reads are ranged requests, so that no connection waits for a slow reader and none is cut unseen;
long writes are multipart uploads, which show nothing before they are complete.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import GenericError
from obstore.store import ObjectStore as Client

from alexandria_backup.errors import ObjectExists, ObjectMissing, StorageError
from alexandria_backup.storage.cloud_errors import status_of, translated
from alexandria_backup.storage.store import ObjectInfo, check_name, check_prefix

if TYPE_CHECKING:  # obstore has these two in its stubs alone
    from obstore import GetOptions, ObjectMeta

_MIB = 1024 * 1024
_RANGE = 8 * _MIB
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

    def __init__(self, client: Client, *, url: str, prefix: str = "") -> None:
        self._client = client
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
        aborted; where the connection is lost for good, the bucket's rule for abandoned uploads
        must clear it.
        """
        check_name(name)
        self._refuse_existing(name)
        part = part_size(expected_size)
        source = _Source(chunks)
        head = source.take(part)
        if source.ended:
            self._put(name, b"".join(head))
            return source.size
        try:
            with translated(f"`{name}` could not be stored in `{self.url}`"):
                obstore.put(
                    self._client,
                    self._prefix + name,
                    self._until_taken(name, head, source),
                    use_multipart=True,
                    chunk_size=part,
                    max_concurrency=max(1, min(8, _IN_FLIGHT // part)),
                )
        except BaseException:
            if source.error is None:
                raise
        if source.error is not None:
            raise source.error  # as it was raised, and not as obstore hands it back
        return source.size

    def get(self, name: str) -> bytes:
        """See `ObjectStore.get`."""
        check_name(name)
        with translated(f"`{name}` could not be read from `{self.url}`"):
            answer = obstore.get(self._client, self._prefix + name)
            data = bytes(answer.bytes())
        return self._whole(name, data, answer.meta["size"])

    def read(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        check_name(name)
        what = f"`{name}` could not be read from `{self.url}`"
        with translated(what):
            meta = obstore.head(self._client, self._prefix + name)
        for start in range(0, meta["size"], _RANGE):
            end = min(start + _RANGE, meta["size"])
            options: GetOptions = {"range": (start, end)}
            if meta["e_tag"] is not None:
                options["if_match"] = meta["e_tag"]
            with translated(what):
                answer = obstore.get(self._client, self._prefix + name, options=options)
                data = bytes(answer.bytes())
            yield self._whole(name, data, end - start)

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

    def _put(self, name: str, data: bytes) -> None:
        key = self._prefix + name
        with translated(f"`{name}` could not be stored in `{self.url}`"):
            try:
                obstore.put(self._client, key, data, mode="create", use_multipart=False)
            except (NotImplementedError, GenericError) as error:
                # Servers without conditions: what was asked beforehand has to do.
                if isinstance(error, GenericError) and status_of(error) != 501:
                    raise
                obstore.put(self._client, key, data, use_multipart=False)

    def _until_taken(self, name: str, head: deque[bytes], rest: "_Source") -> Iterator[bytes]:
        """Give all chunks, then look once more whether another writer was faster."""
        while head:
            yield head.popleft()
        yield from rest
        try:
            self._refuse_existing(name)
        except StorageError as error:
            rest.error = error
            raise

    def _refuse_existing(self, name: str) -> None:
        if self.head(name) is not None:
            raise ObjectExists(f"`{name}` exists already in `{self.url}`")

    def _next(self, pages: "Iterator[Iterable[ObjectMeta]]") -> "Iterable[ObjectMeta] | None":
        with translated(f"`{self.url}` could not be listed"):
            return next(pages, None)

    def _info(self, meta: "ObjectMeta") -> ObjectInfo:
        name = meta["path"].removeprefix(self._prefix)
        return ObjectInfo(name=name, size=meta["size"], modified=meta["last_modified"])

    def _whole(self, name: str, data: bytes, size: int) -> bytes:
        if len(data) != size:
            raise StorageError(
                f"`{name}` in `{self.url}` gave {len(data)} bytes where {size} were due"
            )
        return data


class _Source:
    """The chunks of a stream, joined to pieces worth handing over, and what became of them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        #: Bytes taken so far.
        self.size = 0
        self.ended = False
        #: What `chunks` raised: it must come through as it is.
        self.error: BaseException | None = None

    def take(self, enough: int) -> deque[bytes]:
        """Return pieces until there are `enough` bytes or `ended` is true."""
        pieces: deque[bytes] = deque()
        while self.size < enough:
            try:
                pieces.append(next(self))
            except StopIteration:
                break
        return pieces

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        pieces: list[bytes] = []
        wanted = self.size + _MIB
        while self.size < wanted and not self.ended:
            try:
                pieces.append(bytes(next(self._chunks)))
                self.size += len(pieces[-1])
            except StopIteration:
                self.ended = True
            except BaseException as error:
                self.error = error
                raise
        if not pieces:
            raise StopIteration
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def part_size(expected_size: int | None) -> int:
    """Return the bytes of one part, so that 10,000 parts suffice for twice the estimate."""
    if expected_size is None:
        return _UNKNOWN_PART
    needed = -(-expected_size // _PARTS)
    return max(_SMALLEST_PART, -(-needed // _MIB) * _MIB)
