"""The key of an audit chain: loaded from a file, never shown."""

import base64
import binascii
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, Self

from alexandria_backup.errors import CredentialsNotFound, SettingsInvalid, WrongKey

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

    __slots__ = ("_candidates", "source")

    def __init__(self, candidates: tuple[tuple[str, bytes], ...], *, source: str) -> None:
        self._candidates = candidates
        #: Where the key was found, for messages.
        self.source = source

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
        data = _read(path)
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
                f"the audit key{form} in `{path}` is {reason}",
                hint="set `audit.key_encoding` to `raw`, `hex` or `base64`, or name another file",
            )
        return cls(fitting, source=f"`{path}`")

    def reveal(self) -> tuple[tuple[str, bytes], ...]:
        """Return the candidates as (encoding, key): only for what computes HMACs."""
        return self._candidates

    def __repr__(self) -> str:
        return "AuditKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an audit key cannot be pickled")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            data = file.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise CredentialsNotFound(
            f"the audit key `{path}` cannot be read: {error.strerror}", hint=f"ls -l {path}"
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
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
