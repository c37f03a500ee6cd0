"""Whom to believe: what the settings say, pinned in the state folder on first use.

`repository.json` lies in the bucket, and whoever can write there could name other keys. So its keys
are hints: never is anything sealed to a recipient that only it names, and its trusted keys are
taken on first use alone, where the settings name none; from then on the pin counts.
"""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from alexandria_backup.errors import RepositoryInvalid, StorageError, WrongKey
from alexandria_backup.repository.description import Description, RepositoryId
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.manifest_parts import Part, Sha256Hex
from alexandria_backup.sealing.encryption import Identity, Recipient
from alexandria_backup.sealing.signing import SigningKey, TrustedKey

_FOLDER: Final = "repositories"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What the settings say about keys."""

    #: Whose signatures count.
    trusted: tuple[TrustedKey, ...] = ()
    #: To whom everything is sealed; none: the repository is not encrypted.
    recipients: tuple[Recipient, ...] = ()
    #: What signs; None where this machine only reads.
    signing: SigningKey | None = None
    #: What opens; empty where this machine only writes.
    identities: tuple[Identity, ...] = ()

    @property
    def believed(self) -> tuple[TrustedKey, ...]:
        """The trusted keys, and this machine's own."""
        own = (self.signing.trusted,) if self.signing else ()
        return tuple(dict.fromkeys((*self.trusted, *own)))


class Pin(Part):
    """What this machine knows of a repository that it has used."""

    role: Literal["pin"] = "pin"
    format: Literal[1] = 1
    url: str
    repository: RepositoryId
    recipients: tuple[str, ...]
    trusted_keys: tuple[str, ...]
    #: Digests of the newest ledger entries that this machine has seen or written.
    heads: tuple[Sha256Hex, ...] = ()


_FORM: Final = Form(role="pin", model=Pin, version=1, largest=1 << 20)


class Pins:
    """The pins in a state folder, one file for each place."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / _FOLDER

    def path(self, url: str) -> Path:
        """Return the file of a place, whether it exists or not."""
        return self._folder / f"{sha256(url.encode()).hexdigest()[:16]}.json"

    def read(self, url: str) -> Pin | None:
        """Return the pin of a place; None on first use. Raises RepositoryInvalid, StorageError."""
        path = self.path(url)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StorageError(f"`{path}` cannot be read: {exc.strerror}") from exc
        try:
            return _FORM.decode(data, ()).document
        except RepositoryInvalid as error:
            raise RepositoryInvalid(
                f"`{path}`, which says whom to trust, is damaged: {error.message}",
                hint=f"rm {path}   # then the settings, or the repository itself, say it again",
            ) from error

    def write(self, pin: Pin) -> None:
        """Write a pin over the one before it: whole, or not at all. Raises StorageError."""
        path = self.path(pin.url)
        part = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with part.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(_FORM.encode(pin, None))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as exc:
            with suppress(OSError):
                part.unlink()
            raise StorageError(f"`{path}` cannot be written: {exc.strerror}") from exc


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Whom to believe about one repository, and how that came about."""

    trusted: tuple[TrustedKey, ...]
    recipients: tuple[Recipient, ...]
    pin: Pin
    #: What the operator should know, in one line each.
    notes: tuple[str, ...]
    #: Why nothing may be written; None where it may.
    refusal: WrongKey | None


def settle(url: str, description: Description, keys: Keys, pin: Pin | None, at: Path) -> Settled:
    """Decide whom to believe, and return the pin to write.

    `at` is the pin's file, for messages. RepositoryInvalid where another repository has taken the
    place of the one that this machine knows.
    """
    if pin is not None and pin.repository != description.id:
        raise RepositoryInvalid(
            f"`{url}` is repository `{description.id}`, and this machine knows "
            f"`{pin.repository}` there",
            hint=f"rm {at}   # only if you have replaced it yourself",
        )
    trusted, notes = _trusted(description, keys, pin)
    recipients = keys.recipients or _parsed_recipients(pin.recipients if pin else ())
    return Settled(
        trusted=trusted,
        recipients=recipients,
        pin=pin or pinned(url, description.id, recipients, trusted),
        notes=notes,
        refusal=_refusal(description, keys, pin, recipients),
    )


def pinned(
    url: str,
    repository: str,
    recipients: tuple[Recipient, ...],
    trusted: tuple[TrustedKey, ...],
    heads: tuple[str, ...] = (),
) -> Pin:
    """Return a pin of these keys."""
    return Pin(
        url=url,
        repository=repository,
        recipients=tuple(str(recipient) for recipient in recipients),
        trusted_keys=tuple(str(key) for key in trusted),
        heads=heads,
    )


def _trusted(
    description: Description, keys: Keys, pin: Pin | None
) -> tuple[tuple[TrustedKey, ...], tuple[str, ...]]:
    if keys.trusted:
        return keys.believed, ()
    known = pin.trusted_keys if pin else description.trusted_keys
    parsed = tuple(TrustedKey.parse(text) for text in known)
    believed = tuple(dict.fromkeys((*parsed, *keys.believed))) if parsed or keys.signing else ()
    if pin is None and parsed:
        names = ", ".join(f"`{key}`" for key in parsed)
        return believed, (f"used for the first time: the repository itself names {names}",)
    return believed, ()


def _parsed_recipients(texts: tuple[str, ...]) -> tuple[Recipient, ...]:
    return tuple(Recipient.parse(text) for text in texts)


def _refusal(
    description: Description, keys: Keys, pin: Pin | None, recipients: tuple[Recipient, ...]
) -> WrongKey | None:
    """Say why nothing may be written with these keys."""
    if description.recipients and not recipients:
        return WrongKey(
            "the repository is encrypted, and nobody is named to seal to",
            hint="set `encryption.recipients`; the repository names "
            + ", ".join(text for text in description.recipients[:3]),
        )
    if recipients and keys.signing is None:
        return WrongKey(
            "an encrypted repository needs a signing key to be written",
            hint="set `signing.key_file`",
        )
    if (description.trusted_keys or (pin and pin.trusted_keys)) and keys.signing is None:
        return WrongKey(
            "the repository is signed, and this machine has no signing key",
            hint="set `signing.key_file`",
        )
    if pin is not None and {str(r) for r in recipients} != set(pin.recipients):
        return WrongKey(
            "the settings name other recipients than this repository was set up with",
            hint="alexandria repository init   # to change them: it tries them first",
        )
    return None
