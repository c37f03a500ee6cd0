"""Ed25519 signatures in the form of C2SP signed notes.

The format is https://c2sp.org/signed-note, the one of Go's checksum database: a text that ends in a
line feed, an empty line, and one line per signature:

    — <name> <base64(key id ‖ signature)>

The key id is the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key); a trusted key is
written `<name>+<key id in hex>+<base64(0x01 ‖ public key)>`. A signature covers the text and
nothing else, so the caller puts role and repository into the text: otherwise something valid could
stand in another's place.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from alexandria_backup.errors import ManifestInvalid, WrongKey
from alexandria_backup.sealing.digests import derived_key
from alexandria_backup.sealing.private_file import read_private, write_private

#: What signs where the settings name nobody.
DEFAULT_NAME: Final = "alexandria-backup"

_WHAT: Final = "signing key"
_ED25519: Final = b"\x01"
#: Set for good: another one would make every digest incomparable.
_DIGEST_CONTEXT: Final = "alexandria-backup 2026-11-25 digest key of a signing key"
_SEED_BYTES: Final = 32
_KEY_ID_BYTES: Final = 4
_SIGNATURE_BYTES: Final = 64
#: As in Go's implementation: a note with more signatures is an attack on the verifier's time.
_MOST_SIGNATURES: Final = 100
#: No white space, no plus sign (C2SP), and no control characters.
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]+")
#: Of a text, which has lines; the specification allows no other control character.
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE_LINE: Final = re.compile(r"— (?P<name>[^ ]+) (?P<signature>[A-Za-z0-9+/]+={0,2})")


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_KEY_ID_BYTES]


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name) or "\ufffd" in name:
        raise WrongKey(
            f"`{name}` is not a name for a key: it must have no spaces and no plus sign",
            hint="use a name such as `backup.example.com`",
        )
    return name


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A public key whose signatures are believed."""

    #: Who signs, such as `backup.example.com`.
    name: str
    #: The 32 bytes of the Ed25519 public key.
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "TrustedKey":
        """Return the key written `name+hash+base64`; WrongKey where it is not one."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise WrongKey(
                f"`{text.strip()[:100]}` is not a trusted key of the form `name+hash+base64`"
            )
        name = _checked_name(parts[0])
        try:
            material = base64.b64decode(parts[2], validate=True)
            key_id = bytes.fromhex(parts[1])
        except ValueError as exc:
            raise WrongKey(f"the trusted key of `{name}` is not written in hex and base64") from exc
        if material[:1] != _ED25519 or len(material) != 1 + _SEED_BYTES:
            raise WrongKey(f"the trusted key of `{name}` is not an Ed25519 public key")
        if key_id != _key_id(name, material[1:]):
            raise WrongKey(f"the trusted key of `{name}` does not fit its own hash: it was altered")
        return cls(name=name, public=material[1:])

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before each signature of this key."""
        return _key_id(self.name, self.public)

    def __str__(self) -> str:
        """Return the form that `parse` reads: what goes into the settings."""
        material = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is this key's own over exactly `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private Ed25519 key and the name it signs under; neither repr nor str shows the key."""

    name: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> "SigningKey":
        """Return a new key from the system's random source."""
        return cls(name=_checked_name(name), _private=Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> "SigningKey":
        """Return the key of a 32-byte seed, as RFC 8032 defines it."""
        if len(seed) != _SEED_BYTES:
            raise WrongKey(f"an Ed25519 seed has {_SEED_BYTES} bytes, not {len(seed)}")
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(name=_checked_name(name), _private=private)

    @classmethod
    def load(cls, path: Path, *, name: str = DEFAULT_NAME) -> "SigningKey":
        """Read a key from a file that only its owner can read.

        Formats: PEM (PKCS8, not encrypted), the raw 32-byte seed, or the seed in base64. WrongKey
        where the file is missing, is open to others, or holds something else.
        """
        data = read_private(path, _WHAT)
        if data.lstrip().startswith(b"-----BEGIN"):
            return cls(name=_checked_name(name), _private=_from_pem(data, path))
        return cls.from_seed(name, _seed(data, path))

    @property
    def trusted(self) -> TrustedKey:
        """The public half, as a verifier needs it."""
        return TrustedKey(name=self.name, public=self._private.public_key().public_bytes_raw())

    def sign(self, text: bytes) -> bytes:
        """Return the 64 bytes of the signature over `text`."""
        return self._private.sign(text)

    def digest_key(self) -> bytes:
        """Return the 32 bytes under which raw data are digested: told to no store, ever.

        Whoever knows them can confirm guesses of what a repository holds, but sign nothing.
        """
        return derived_key(_DIGEST_CONTEXT, self._private.private_bytes_raw())

    def save(self, path: Path) -> None:
        """Write the key as a new PEM file (PKCS8); 0600, never over another.

        Raises ObjectExists and StorageError. The name is not part of the file.
        """
        pem = self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(path, pem, _WHAT)


def _from_pem(data: bytes, path: Path) -> Ed25519PrivateKey:
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except TypeError as exc:
        raise WrongKey(f"the signing key `{path}` is encrypted with a passphrase") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise WrongKey(f"the signing key `{path}` is not a readable PEM") from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise WrongKey(
            f"the signing key `{path}` is not an Ed25519 key",
            hint=f"openssl genpkey -algorithm ed25519 -out {path}",
        )
    return private


def _seed(data: bytes, path: Path) -> bytes:
    if len(data) == _SEED_BYTES:
        return data
    try:
        seed = base64.b64decode(data.strip(), validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise WrongKey(
            f"the signing key `{path}` is neither PEM nor a seed of {_SEED_BYTES} bytes",
            hint=f"openssl genpkey -algorithm ed25519 -out {path}",
        )
    return seed


@dataclass(frozen=True, kw_only=True)
class OpenedNote:
    """A note whose signatures have been verified."""

    #: Exactly the bytes that were signed; ends in a line feed.
    text: str
    #: Names of the trusted keys that signed it, in the order of their signatures; never empty.
    signers: tuple[str, ...]


def sign_note(text: str, key: SigningKey) -> str:
    """Return the signed note of `text`, which must end in a line feed.

    ManifestInvalid where a text cannot be a note: no final line feed, or control characters.
    """
    _check_text(text)
    signature = base64.b64encode(key.trusted.key_id + key.sign(text.encode())).decode()
    return f"{text}\n— {key.name} {signature}\n"


def open_note(document: str, trusted: Sequence[TrustedKey]) -> OpenedNote:
    """Return the text of a signed note and who of `trusted` signed it.

    Signatures of unknown keys are passed over, as the specification asks. ManifestInvalid where the
    document is no signed note or a trusted key's signature does not fit the text; WrongKey where no
    trusted key has signed it.
    """
    text, lines = _split(document)
    signers: list[str] = []
    strangers: list[str] = []
    for line in lines:
        name, key_id, signature = _parse_signature(line)
        key = next((k for k in trusted if k.name == name and k.key_id == key_id), None)
        if key is None:
            strangers.append(f"{name}+{key_id.hex()}")
        elif len(signature) != _SIGNATURE_BYTES or not key.verifies(text.encode(), signature):
            raise ManifestInvalid(
                f"the signature of `{name}` does not fit the text: the document was altered"
            )
        elif name not in signers:
            signers.append(name)
    if not signers:
        raise WrongKey(
            f"no trusted key has signed the document, only {_listed(strangers)}",
            hint="add the key to `signing.trusted_keys` if you know whose it is",
        )
    return OpenedNote(text=text, signers=tuple(signers))


def _listed(names: Sequence[str]) -> str:
    # A stranger wrote them: neither endless, nor anything that a terminal would act upon.
    shown = ", ".join(f"`{ascii(name)[1:-1][-100:]}`" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _split(document: str) -> tuple[str, list[str]]:
    # The last empty line divides: the text itself may contain empty lines.
    end = document.rfind("\n\n")
    if end < 0 or not document.endswith("\n"):
        raise ManifestInvalid("the document is not a signed note: it has no signature lines")
    text, lines = document[: end + 1], document[end + 2 : -1].split("\n")
    _check_text(text)
    if len(lines) > _MOST_SIGNATURES:
        raise ManifestInvalid(f"the document has more than {_MOST_SIGNATURES} signatures")
    return text, lines


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise ManifestInvalid("the text of a signed note must end in a line feed")
    if _CONTROL.search(text):
        raise ManifestInvalid("the text of a signed note must have no control characters")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ManifestInvalid("the text of a signed note must be valid Unicode") from exc


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise ManifestInvalid("a signature line of the document is malformed")
    try:
        raw = base64.b64decode(match["signature"], validate=True)
    except ValueError as exc:
        raise ManifestInvalid("a signature of the document is not base64") from exc
    if not _NAME.fullmatch(match["name"]) or len(raw) <= _KEY_ID_BYTES:
        raise ManifestInvalid("a signature line of the document is malformed")
    return match["name"], raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:]
