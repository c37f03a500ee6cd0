"""How this machine reads and writes the signed documents of one repository.

Ledger entries, results, partials and tombstones are all written and read through here, so that
role, signature and repository are compared in one place.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from alexandria_backup.errors import SnapshotDamaged, StorageError, WrongKey
from alexandria_backup.repository.description import RepositoryId
from alexandria_backup.repository.documents import Form, refuse_foreign
from alexandria_backup.repository.fetching import fetch_all
from alexandria_backup.repository.manifest_parts import Part
from alexandria_backup.sealing.signing import SigningKey, TrustedKey
from alexandria_backup.storage.store import ObjectInfo, ObjectStore


class Owned(Part):
    """The root of all documents that belong to one repository; their role comes first."""

    role: str
    format: int
    repository: RepositoryId


D = TypeVar("D", bound=Owned)


@dataclass(frozen=True, kw_only=True)
class Found(Generic[D]):
    """A document as it lies in the store, or why it cannot be believed."""

    info: ObjectInfo
    #: None where it cannot be read or believed.
    document: D | None
    error: SnapshotDamaged | WrongKey | StorageError | None

    @property
    def name(self) -> str:
        """Its name in the store."""
        return self.info.name

    @property
    def problem(self) -> str | None:
        """What is wrong with it, in one line."""
        return self.error.message if self.error else None


@dataclass(frozen=True, kw_only=True)
class Access:
    """A store, the repository in it, whom to believe, and what signs."""

    store: ObjectStore
    #: The repository's id.
    repository: str
    #: Whose signatures count; empty in a repository that is not signed.
    trusted: tuple[TrustedKey, ...]
    #: None where this machine only reads.
    key: SigningKey | None

    def encode(self, form: Form[D], document: D) -> bytes:
        """Return a document's bytes; WrongKey where it must be signed and there is no key."""
        if self.trusted and self.key is None:
            raise WrongKey(
                f"a {form.role} of this repository is signed, and this machine has no signing key",
                hint="set `signing.key_file`",
            )
        return form.encode(document, self.key)

    def decode(self, form: Form[D], data: bytes) -> D:
        """Return the document; raises `form.invalid`, WrongKey, or RepositoryInvalid."""
        document = form.decode(data, self.trusted).document
        refuse_foreign(self.repository, document.repository, f"the {form.role}")
        return document

    def read_all(
        self, form: Form[D], infos: Iterable[ObjectInfo], opened: Callable[[ObjectInfo, bytes], D]
    ) -> Iterator[Found[D]]:
        """Give every document, or what is wrong with it; one that has vanished is left out.

        `opened` decodes one, and raises where it does not belong under its name. Raises
        StoreUnreachable.
        """
        for info, data in fetch_all(self.store, infos, largest=form.largest):
            try:
                if not isinstance(data, bytes):
                    raise data
                yield Found(info=info, document=opened(info, data), error=None)
            except (SnapshotDamaged, WrongKey, StorageError) as error:
                yield Found(info=info, document=None, error=error)
