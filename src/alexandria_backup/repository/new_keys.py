"""New keys for a new repository: who can read it, and who signs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alexandria_backup.errors import StorageError
from alexandria_backup.repository.trust import Keys
from alexandria_backup.sealing.encryption import Identity
from alexandria_backup.sealing.signing import SigningKey

_IDENTITY: Final = "identity.txt"
_SIGNING: Final = "signing.pem"


@dataclass(frozen=True, kw_only=True)
class NewKeys:
    """Two key files that were just made; neither key is shown anywhere."""

    keys: Keys
    identity_file: Path
    signing_file: Path


def make_keys(folder: Path, *, name: str) -> NewKeys:
    """Make an identity and a signing key as files of `folder`, 0600, never over others.

    `name` is what the signing key signs as. Raises ObjectExists and StorageError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"the folder `{folder}` cannot be made: {exc.strerror}") from exc
    identity, signing = Identity.generate(), SigningKey.generate(name)
    identity.save(folder / _IDENTITY)
    signing.save(folder / _SIGNING)
    return NewKeys(
        keys=Keys(
            trusted=(signing.trusted,),
            recipients=(identity.recipient,),
            signing=signing,
            identities=(identity,),
        ),
        identity_file=folder / _IDENTITY,
        signing_file=folder / _SIGNING,
    )
