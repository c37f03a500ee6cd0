"""Where a bundle is read from: a file, a stream, an object store; sealed with age or not."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final

from alexandria_backup.errors import BundleDamaged, ObjectMissing, StorageError
from alexandria_backup.sealing.blocks import TRAILER_BYTES, marked_offset
from alexandria_backup.sealing.encryption import HEADER, Identity, unsealed_chunks
from alexandria_backup.storage.store import ObjectStore

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class BundleSource:
    """A bundle that can be opened, as often as it is asked for unless it is a stream."""

    #: For messages.
    shown: str
    open: Callable[[], Iterator[bytes]]
    #: Packed bytes, where that is known beforehand.
    size: int | None = None
    #: Gives the packed bytes from an offset on; None where they come once, and in order.
    open_at: Callable[[int], Iterator[bytes]] | None = None
    #: Opens what is sealed; called only where something is.
    identities: Callable[[], tuple[Identity, ...]]

    @property
    def seekable(self) -> bool:
        """Whether the manifest can be found from the end: where nothing is sealed.

        What age has sealed cannot be opened from its middle.
        """
        return self.open_at is not None and not self._is_sealed()

    def chunks(self) -> Iterator[bytes]:
        """Give the packed bytes, unsealed where they are sealed."""
        chunks = self.open()
        start = next(chunks, b"")
        while len(start) < len(HEADER) and (more := next(chunks, b"")):
            start += more
        if not start:
            raise BundleDamaged(f"`{self.shown}` is empty")
        whole: Iterable[bytes] = chain((start,), chunks)
        if start.startswith(HEADER):
            return unsealed_chunks(whole, self.identities())
        return iter(whole)

    def end(self) -> tuple[bytes, int]:
        """Return the last bytes of a seekable bundle, enough for a trailer, and its size."""
        size = self.size or 0
        return b"".join(self.chunks_from(max(0, size - TRAILER_BYTES))), size

    def chunks_from(self, offset: int) -> Iterator[bytes]:
        """Give the bytes of a seekable bundle from `offset` on."""
        assert self.open_at is not None  # noqa: S101 - `seekable` was asked
        return self.open_at(offset)

    def _is_sealed(self) -> bool:
        """Look at the end first: what has a trailer is not sealed, and a trailer costs no MiB."""
        end, _ = self.end()
        with suppress(BundleDamaged):
            marked_offset(end)
            return False
        return next(self.open(), b"").startswith(HEADER)


def file_source(path: Path, identities: Callable[[], tuple[Identity, ...]]) -> BundleSource:
    """Return a bundle that is a file of this machine; ObjectMissing where there is none."""
    shown = str(path)
    with reading(shown):
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise ObjectMissing(f"`{shown}` is not a file")

    def opened(offset: int = 0) -> Iterator[bytes]:
        with reading(shown), path.open("rb", buffering=0) as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK):
                yield chunk

    return BundleSource(
        shown=shown, open=opened, size=status.st_size, open_at=opened, identities=identities
    )


def stream_source(stream: BinaryIO, identities: Callable[[], tuple[Identity, ...]]) -> BundleSource:
    """Return a bundle that comes once, as from a pipe."""

    def opened() -> Iterator[bytes]:
        with reading("-"):
            while chunk := stream.read(_CHUNK):
                yield chunk

    return BundleSource(shown="-", open=opened, identities=identities)


def object_source(
    store: ObjectStore, name: str, identities: Callable[[], tuple[Identity, ...]]
) -> BundleSource:
    """Return a bundle in an object store; ObjectMissing where there is none."""
    shown = f"{store.url.rstrip('/')}/{name}"
    info = store.head(name)
    if info is None:
        raise ObjectMissing(f"there is no object `{shown}`")
    return BundleSource(
        shown=shown,
        open=lambda: store.read(name),
        size=info.size,
        open_at=lambda offset: store.read(name, offset),
        identities=identities,
    )


@contextmanager
def reading(shown: str) -> Iterator[None]:
    """Translate what goes wrong while a file is read."""
    try:
        yield
    except FileNotFoundError as exc:
        raise ObjectMissing(
            f"there is no file `{shown}`",
            hint=shlex.join(("ls", str(Path(shown).absolute().parent))),
        ) from exc
    except OSError as exc:
        reason = (exc.strerror or "input/output error").lower()
        raise StorageError(f"`{shown}` could not be read: {reason}") from exc
