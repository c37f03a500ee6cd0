"""The manifest: the signed document that makes an archive a snapshot; written last, never changed.

The form is JSON, indented for people, and, where it is signed, the signature lines of a C2SP signed
note behind it. The text begins with its role, so that nothing that was signed as something else can
stand in its place. One schema serves the file of the paper recipe (one base archive, no frames) and
whatever a repository keeps later.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import model_validator

from alexandria_backup.errors import ManifestInvalid
from alexandria_backup.repository.documents import Form
from alexandria_backup.repository.manifest_parts import (
    ArchivePart,
    AuditPart,
    DatabasePart,
    Instant,
    LargeObjectsPart,
    OriginPart,
    Part,
    PlainName,
    ServerPart,
    SnapshotKind,
    StoredPart,
    TablePart,
)
from alexandria_backup.sealing.signing import SigningKey, TrustedKey

#: The version of the form.
FORMAT: Final = 1
#: A manifest is never larger: it lists tables, not rows.
LARGEST_BYTES = 64 * 1024 * 1024


class Manifest(Part):
    """What a snapshot is."""

    role: Literal["manifest"] = "manifest"
    format: Literal[1] = FORMAT
    #: The repository's id; None for a plain folder of files.
    repository: str | None
    snapshot: PlainName
    kind: SnapshotKind
    application: str
    note: str | None
    #: By the database server's clock, before the dump began.
    created: Instant
    #: When the stored archive had been read back in full, by this machine's clock; None in a
    #: repository, whose signed results tell what was read back since.
    read_back: Instant | None
    #: Versions of this program and of pg_dump.
    tool: str
    pg_dump: str
    archive: ArchivePart
    #: `age1…` of those who can read its objects; empty where they are not encrypted.
    recipients: tuple[str, ...] = ()
    #: Roles without passwords, as `pg_dumpall` writes them; empty where they could not be read.
    role_statements: tuple[StoredPart, ...] = ()
    #: None where nothing can ever be taken over from this snapshot.
    origin: OriginPart | None = None
    database: DatabasePart
    server: ServerPart
    extensions: dict[str, str]
    roles: tuple[str, ...]
    tables: tuple[TablePart, ...]
    large_objects: LargeObjectsPart
    #: The settings that decided how values were written: digests are comparable under these.
    rendering: dict[str, str]
    #: None where no audit chain was found.
    audit: AuditPart | None

    @model_validator(mode="after")
    def _kept_in_one_place(self) -> Self:
        if (self.repository is None) == (self.archive.name is None):
            raise ValueError("a file has a name and no repository, and a repository keeps parts")
        return self

    @property
    def rows(self) -> int:
        """All rows that were counted."""
        return sum(table.rows or 0 for table in self.tables)

    def stored_parts(self) -> Iterator[StoredPart]:
        """Give every stored part that the snapshot needs, one that is used twice also twice."""
        yield from self.archive.parts
        yield from self.role_statements
        for table in self.tables:
            for frame in table.framed.frames if table.framed else ():
                yield from frame.parts


_FORM: Final = Form(
    role="manifest",
    model=Manifest,
    version=FORMAT,
    largest=LARGEST_BYTES,
    invalid=ManifestInvalid,
)


@dataclass(frozen=True, kw_only=True)
class SignedManifest:
    """A manifest, and which trusted keys vouch for it."""

    manifest: Manifest
    #: Names of trusted keys with a good signature; empty where none is trusted or none signed.
    signers: tuple[str, ...]
    #: Whether it carries signatures at all, believed or not.
    signed: bool


def encode(manifest: Manifest, key: SigningKey | None) -> bytes:
    """Return the document; signed where there is a key."""
    return _FORM.encode(manifest, key)


def decode(document: bytes, trusted: Sequence[TrustedKey]) -> SignedManifest:
    """Read a document.

    With trusted keys, one of them must have signed it; without, any is read, and `signers` is
    empty. Raises ManifestInvalid for everything that is not a manifest of this format, and WrongKey
    where only others have signed.
    """
    opened = _FORM.decode(document, trusted)
    return SignedManifest(manifest=opened.document, signers=opened.signers, signed=opened.signed)
