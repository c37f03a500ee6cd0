"""The key of an audit chain: loaded from a file, never shown."""

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, Self

from alexandria_backup.errors import CredentialsNotFound, SettingsInvalid, WrongKey
from alexandria_backup.secret import Secret, is_exposed

#: How a key may be written.
ENCODINGS: Final = ("raw", "hex", "base64")
#: A shorter key can be guessed, and is more likely a wrong file.
SHORTEST_BYTES: Final = 16
#: A longer file was named by mistake.
_LONGEST_BYTES: Final = 4096


class AuditKey:
    """What a key file may mean: one key, or several readings of which one row chooses (a canary).

    A key file does not say how it is written: 64 hexadecimal digits are also 64 raw bytes, and the
    line feed at the end may be an editor's. Where the encoding is not set, all readings that are
    possible are candidates, the likelier one first. Redacted wherever it is printed, and not
    picklable.
    """

    __slots__ = ("_candidates", "name", "since", "source", "until")

    def __init__(
        self,
        candidates: tuple[tuple[str, bytes], ...],
        *,
        source: str,
        name: str = "",
        since: int | None = None,
        until: int | None = None,
    ) -> None:
        self._candidates = candidates
        #: Where the key was found, for messages.
        self.source = source
        #: What the settings call it; empty where it is the only one.
        self.name = name
        #: Rows made from `since` on and before `until` are sealed with it, in microseconds since
        #: the epoch; None where there is no such limit.
        self.since, self.until = since, until

    @classmethod
    def of(cls, key: bytes) -> Self:
        """Return a key that is known."""
        return cls((("raw", key),), source="memory")

    @classmethod
    def load(cls, path: Path, encoding: str | None = None) -> Self:
        """Read a key file; `encoding` is `raw`, `hex`, `base64`, or None where it is not known.

        Raises CredentialsNotFound where the file cannot be read or others can read it too, WrongKey
        where it holds no key of this encoding or too short a one, SettingsInvalid for an unknown
        encoding.
        """
        if encoding is not None and encoding not in ENCODINGS:
            raise SettingsInvalid(
                f"`audit.key_encoding` is `{encoding}`", hint="set `raw`, `hex` or `base64`"
            )
        return cls.of_data(_read(path), encoding, source=f"`{path}`")

    @classmethod
    def given(cls, value: Secret, encoding: str | None, *, source: str) -> Self:
        """Return the key that a variable or Vault holds; raises WrongKey as `load` does."""
        return cls.of_data(value.reveal().encode(), encoding, source=source)

    @classmethod
    def of_data(cls, data: bytes, encoding: str | None, *, source: str) -> Self:
        """Return the key that a file or a Secret holds; raises WrongKey as `load` does."""
        candidates = tuple(_candidates(data, encoding))
        fitting = tuple(pair for pair in candidates if len(pair[1]) >= SHORTEST_BYTES)
        if not fitting:
            form = f" in {encoding}" if encoding else ""
            reason = (
                f"{max(len(key) for _, key in candidates)} bytes long, at least "
                f"{SHORTEST_BYTES} are needed"
                if candidates
                else "not written so"
            )
            raise WrongKey(
                f"the audit key{form} in {source} is {reason}",
                hint="set `audit.key_encoding` to `raw`, `hex` or `base64`, or name another file",
            )
        return cls(fitting, source=source)

    def in_use(self, name: str, since: int | None, until: int | None) -> "AuditKey":
        """Return the key under a name, for rows of a time only."""
        return AuditKey(self._candidates, source=self.source, name=name, since=since, until=until)

    def reveal(self) -> tuple[tuple[str, bytes], ...]:
        """Return the candidates as (encoding, key): only for what computes HMACs."""
        return self._candidates

    def __repr__(self) -> str:
        return "AuditKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an audit key cannot be pickled")


class KeyRing:
    """The keys of a chain whose key was rotated, the newest last; a row's time says which is its.

    A row that verifies only under a key that was not in use when the row says that it was made is
    not what was signed: who has got hold of today's key cannot rewrite yesterday.
    """

    __slots__ = ("keys",)

    def __init__(self, keys: tuple[AuditKey, ...]) -> None:
        if not keys:
            raise ValueError("a key ring without keys")
        self.keys = keys

    @property
    def source(self) -> str:
        """Where the keys were found, for messages."""
        return ", ".join(key.source for key in self.keys)

    def __repr__(self) -> str:
        return "KeyRing(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("audit keys cannot be pickled")


def first_reading(key: AuditKey | KeyRing | None) -> bytes | None:
    """Return the likeliest reading of the newest key; None where there is none."""
    newest = key.keys[-1] if isinstance(key, KeyRing) else key
    return None if newest is None else newest.reveal()[0][1]


#: Keys as they go to another process of ours through a pipe: readings, source, name, window.
Revealed = tuple[tuple[tuple[str, bytes], ...], str, str, int | None, int | None]


def revealed(key: AuditKey | KeyRing | None) -> tuple[Revealed, ...] | None:
    """Return what another process needs to have the same keys; for a pipe, and nothing else."""
    if key is None:
        return None
    keys = key.keys if isinstance(key, KeyRing) else (key,)
    return tuple((one.reveal(), one.source, one.name, one.since, one.until) for one in keys)


def ring_of(told: tuple[Revealed, ...] | None) -> KeyRing | None:
    """Return the keys that another process has `revealed`."""
    if told is None:
        return None
    return KeyRing(
        tuple(
            AuditKey(readings, source=source, name=name, since=since, until=until)
            for readings, source, name, since, until in told
        )
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise CredentialsNotFound(
            f"the audit key `{path}` cannot be read: {error.strerror}", hint=f"ls -l {path}"
        ) from None
    if is_exposed(status):
        raise CredentialsNotFound(
            f"the audit key `{path}` is open to other users of this machine",
            hint=f"chmod 600 {path}",
        )
    if len(data) > _LONGEST_BYTES:
        raise WrongKey(f"`{path}` is too long to be an audit key")
    if not data.strip():
        raise WrongKey(f"the audit key `{path}` is empty", hint=f"ls -l {path}")
    return data


def _candidates(data: bytes, encoding: str | None) -> Iterator[tuple[str, bytes]]:
    text = data.strip()
    if encoding in {None, "hex"}:
        with suppress(binascii.Error):
            yield "hex", binascii.unhexlify(text)
    if encoding in {None, "base64"}:
        with suppress(binascii.Error):
            plain = text.replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
            yield "base64", base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    if encoding in {None, "raw"}:
        yield "raw", data
        line = data.removesuffix(b"\n").removesuffix(b"\r")
        if line != data:
            yield "raw, without its line feed", line
