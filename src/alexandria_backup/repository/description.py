"""`repository.json`: what this place is. Its keys are hints; trust comes from elsewhere."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, Final, Literal
from uuid import uuid4

from pydantic import Field

from alexandria_backup.errors import ObjectMissing, RepositoryInvalid
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.layout import DESCRIPTION
from alexandria_backup.repository.manifest_parts import Instant, Part
from alexandria_backup.storage.store import ObjectStore

#: The version of the whole layout.
FORMAT: Final = 1

RepositoryId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Description(Part):
    """What a repository says of itself."""

    role: Literal["repository"] = "repository"
    format: Literal[1] = FORMAT
    #: Random; every signed document of the repository names it.
    id: RepositoryId
    created: Instant
    #: The version of this program that made it.
    tool: str
    #: `age1…` of who could read it when it was made: a hint, never what anything is sealed to.
    recipients: tuple[str, ...]
    #: `name+id+base64` of whose signatures were trusted when it was made: a hint.
    trusted_keys: tuple[str, ...]


FORM: Final = Form(role="repository", model=Description, version=FORMAT, largest=1 << 20)


def new_description(recipients: tuple[str, ...], trusted_keys: tuple[str, ...]) -> Description:
    """Describe a repository that is being made now."""
    return Description(
        id=uuid4().hex,
        created=datetime.now(UTC),
        tool=version("alexandria-backup"),
        recipients=recipients,
        trusted_keys=trusted_keys,
    )


def read_description(store: ObjectStore) -> Description | None:
    """Return what a place says of itself; None where it is no repository.

    Signatures are not asked for: nothing of it is trusted. Raises RepositoryInvalid where it is
    damaged or of another version, and StorageError.
    """
    try:
        data = store.get(DESCRIPTION)
    except ObjectMissing:
        return None
    try:
        return FORM.decode(data, ()).document
    except RepositoryInvalid as error:
        raise RepositoryInvalid(
            f"`{DESCRIPTION}` of `{store.url}` cannot be read: {error.message}",
            hint=error.hint or f"put back a copy of `{DESCRIPTION}`; nothing else is needed",
        ) from error
