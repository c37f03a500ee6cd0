"""Encryption to age recipients (https://age-encryption.org/v1), by pyrage.

Whoever seals needs recipients alone, which are public. What was sealed can be opened by `age -d`,
by rage and by this program. pyrage's errors are translated here, once, and its objects stay here:
`Recipient` and `Identity` are text inside, so that both can be compared, and a recipient pickled.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import BinaryIO, Final, NoReturn, cast

import pyrage
from pyrage import x25519

from alexandria_backup.errors import SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.sealing.private_file import read_private, write_private

#: What each file of age begins with.
HEADER: Final = b"age-encryption.org/v1\n"
#: What sealing adds, at most, to what has up to 32 MiB: the header with some recipients, and 16
#: bytes for each 64 KiB.
OVERHEAD_BYTES: Final = 64 * 1024

#: What lies between the two threads of a pipe, at most: chunks, and bytes of each.
_PIPE_CHUNKS: Final = 4
_PIPE_BYTES: Final = 256 * 1024

_SECRET: Final = "AGE-SECRET-KEY-1"  # noqa: S105 - how every secret key begins
_WHAT: Final = "identity file"
#: What rage says where the header is whole, and none of its recipients is one of ours.
_NO_MATCH: Final = "No matching keys found"


@dataclass(frozen=True, kw_only=True, order=True)
class Recipient:
    """Whom something is sealed to: the public half of an identity, `age1…`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "Recipient":
        """Return the recipient written `age1…`; WrongKey where it is not one."""
        text = text.strip()
        if text.upper().startswith(_SECRET):
            # Never shown: somebody has pasted the wrong half of the key.
            raise WrongKey("a secret key stands where a recipient (`age1…`) should stand")
        try:
            return cls(text=str(x25519.Recipient.from_str(text)))
        except pyrage.RecipientError as exc:
            raise WrongKey(
                f"`{text[:100]}` is not an age recipient of the form `age1…`",
                hint="age-keygen -y identity.txt   # prints the recipient of an identity",
            ) from exc

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What opens what was sealed to its recipient; neither repr, str nor pickle shows it."""

    recipient: Recipient
    _key: x25519.Identity = field(repr=False, compare=False)

    @classmethod
    def generate(cls) -> "Identity":
        """Return a new identity from the system's random source."""
        return cls._of(x25519.Identity.generate())

    @classmethod
    def load_all(cls, path: Path) -> tuple["Identity", ...]:
        """Read a file as `age-keygen` writes it, which only its owner can read; never empty.

        One secret key in each line; empty lines and those that begin with `#` are passed over.
        WrongKey where the file is missing, is open to others, or holds something else.
        """
        try:
            lines = read_private(path, _WHAT).decode("ascii").splitlines()
            keys = [line.strip() for line in lines if line.strip() and line[0] != "#"]
            found = tuple(cls._of(x25519.Identity.from_str(key)) for key in keys)
        except (UnicodeDecodeError, pyrage.IdentityError):
            found = ()
        if not found:
            raise WrongKey(
                f"the {_WHAT} `{path}` holds no age identity (`AGE-SECRET-KEY-1…`)",
                hint=f"age-keygen -o {path}",
            ) from None
        return found

    @classmethod
    def _of(cls, key: x25519.Identity) -> "Identity":
        return cls(recipient=Recipient(text=str(key.to_public())), _key=key)

    def save(self, path: Path) -> None:
        """Write the identity as a new file, as `age-keygen` does; 0600, never over another.

        Raises ObjectExists and StorageError.
        """
        text = (
            f"# created: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n"
            f"# public key: {self.recipient}\n{self._key}\n"
        )
        write_private(path, text.encode(), _WHAT)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity cannot be pickled")


def seal(data: bytes, recipients: Sequence[Recipient]) -> bytes:
    """Return `data` as an age file that each of `recipients` can open; at least one is needed."""
    sealed = pyrage.encrypt(data, _keys(recipients))
    assert isinstance(sealed, bytes)  # noqa: S101 - pyrage has no types of its own
    return sealed


def unseal(data: bytes, identities: Sequence[Identity]) -> bytes:
    """Return what an age file holds.

    WrongKey where it was sealed to others; SnapshotDamaged where it is no age file, is cut off, or
    was altered.
    """
    if not data.startswith(HEADER):
        raise SnapshotDamaged("the data are not an age file")
    try:
        opened = pyrage.decrypt(data, [identity._key for identity in identities])  # noqa: SLF001
    except pyrage.DecryptError as exc:
        raise _meaning(exc) from exc
    assert isinstance(opened, bytes)  # noqa: S101 - as above
    return opened


def seal_stream(source: BinaryIO, target: BinaryIO, recipients: Sequence[Recipient]) -> None:
    """Seal all of `source` into `target`, in constant memory; for files beyond 32 MiB.

    Errors of the two streams come through as StorageError.
    """
    keys = _keys(recipients)
    try:
        pyrage.encrypt_io(source, target, keys)
    except (pyrage.EncryptError, OSError) as exc:
        raise StorageError(f"sealing stopped: {exc}") from exc


def unseal_stream(source: BinaryIO, target: BinaryIO, identities: Sequence[Identity]) -> None:
    """Open an age file from `source` into `target`, in constant memory.

    What `target` has got is only good once this returns. WrongKey and SnapshotDamaged as `unseal`;
    errors of the two streams come through as StorageError.
    """
    start = source.read(len(HEADER))
    if start != HEADER:
        raise SnapshotDamaged("the data are not an age file")
    rest = _Rejoined(start, source)
    keys = [identity._key for identity in identities]  # noqa: SLF001 - as above
    watched = _Watched(target)
    try:
        pyrage.decrypt_io(rest, watched, keys)
    except (pyrage.DecryptError, OSError) as exc:
        failed = rest.failed or watched.failed
        if failed:
            raise StorageError(f"opening stopped: {failed}") from exc
        raise _meaning(exc) from exc


def sealed_chunks(chunks: Iterable[bytes], recipients: Sequence[Recipient]) -> Iterator[bytes]:
    """Give an age file of `chunks` as they come, in constant memory.

    What `chunks` raises comes through as it was raised.
    """
    return _piped(chunks, lambda source, target: seal_stream(source, target, recipients))


def unsealed_chunks(chunks: Iterable[bytes], identities: Sequence[Identity]) -> Iterator[bytes]:
    """Give what an age file holds, as its chunks come; each is checked before it is given.

    WrongKey and SnapshotDamaged as `unseal`; the last one may come at the very end.
    """
    return _piped(chunks, lambda source, target: unseal_stream(source, target, identities))


def _piped(chunks: Iterable[bytes], work: Callable[[BinaryIO, BinaryIO], None]) -> Iterator[bytes]:
    """Turn a function from stream to stream into an iterator: it runs in a thread of its own."""
    source, target = _ChunkSource(chunks), _ChunkTarget()

    def carry() -> None:
        try:
            work(cast("BinaryIO", source), cast("BinaryIO", target))
            target.end(None)
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever takes the chunks
            target.end(source.failed or exc)

    thread = Thread(target=carry, name="age", daemon=True)
    thread.start()
    try:
        yield from target.taken()
    finally:
        target.abandon()
        thread.join()


class _ChunkSource:
    """Chunks as a stream to read from; it remembers what they raised."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = bytearray()
        self._over = False
        self.failed: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        try:
            while not self._over and (size < 0 or len(self._rest) < size):
                chunk = next(self._chunks, None)
                self._over = chunk is None
                self._rest += chunk or b""
        except BaseException as exc:
            self.failed = exc
            raise OSError("the source failed") from exc
        data = bytes(self._rest if size < 0 else self._rest[:size])
        del self._rest[: len(data)]
        return data


class _ChunkTarget:
    """A stream to write to, whose chunks another thread takes."""

    def __init__(self) -> None:
        self._queue: Queue[bytes | None] = Queue(_PIPE_CHUNKS)
        self._buffer = bytearray()
        self._error: BaseException | None = None
        self._abandoned = False

    def write(self, data: bytes) -> int:
        if self._abandoned:
            raise OSError("nobody reads on")
        self._buffer += data
        if len(self._buffer) >= _PIPE_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._buffer and not self._abandoned:
            self._queue.put(bytes(self._buffer))
            self._buffer.clear()

    def end(self, error: BaseException | None) -> None:
        self._error = error
        if error is None:
            self.flush()
        self._queue.put(None)

    def abandon(self) -> None:
        """Let the writer fail, and take what it is waiting to leave."""
        self._abandoned = True
        with suppress(Empty):
            while True:
                self._queue.get_nowait()

    def taken(self) -> Iterator[bytes]:
        while (chunk := self._queue.get()) is not None:
            yield chunk
        if self._error is not None:
            raise self._error


class _Rejoined:
    """A stream whose first bytes were taken already; it remembers its own failure."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start = BytesIO(start)
        self._rest = rest
        self.failed: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._start.read(size) or self._rest.read(size)
        except OSError as exc:
            self.failed = exc
            raise


class _Watched:
    """A stream that remembers its own failure: rage says the same of a full disk and of damage."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.failed: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._target.write(data)
        except OSError as exc:
            self.failed = exc
            raise

    def flush(self) -> None:
        self._target.flush()


def _keys(recipients: Sequence[Recipient]) -> list[x25519.Recipient]:
    if not recipients:
        raise WrongKey("nothing can be sealed to nobody: at least one recipient is needed")
    return [x25519.Recipient.from_str(str(recipient)) for recipient in recipients]


def _meaning(error: Exception) -> WrongKey | SnapshotDamaged:
    if str(error) == _NO_MATCH:
        return WrongKey(
            "the data were sealed to other recipients than the identities at hand",
            hint="set `encryption.identity_file` to the identity of one of the recipients",
        )
    return SnapshotDamaged("the sealed data are cut off or were altered")
