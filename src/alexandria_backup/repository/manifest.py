"""The manifest: the signed document that makes an archive a snapshot; written last, never changed.

The form is JSON, indented for people, and, where it is signed, the signature lines of a C2SP signed
note behind it. The text begins with its role, so that nothing that was signed as something else can
stand in its place. One schema serves the file of the paper recipe (one base archive, no frames) and
whatever a repository keeps later.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import ValidationError, model_validator

from alexandria_backup.errors import ManifestInvalid
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
from alexandria_backup.sealing.signing import SigningKey, TrustedKey, open_note, sign_note

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
    text = manifest.model_dump_json(indent=1) + "\n"
    return (sign_note(text, key) if key is not None else text).encode()


def decode(document: bytes, trusted: Sequence[TrustedKey]) -> SignedManifest:
    """Read a document.

    With trusted keys, one of them must have signed it; without, any is read, and `signers` is
    empty. Raises ManifestInvalid for everything that is not a manifest of this format, and WrongKey
    where only others have signed.
    """
    if len(document) > LARGEST_BYTES:
        raise ManifestInvalid(f"the manifest has {len(document):,} bytes, too many to be one")
    try:
        text = document.decode()
    except UnicodeDecodeError:
        raise ManifestInvalid("the manifest is not UTF-8 text") from None
    signers: tuple[str, ...] = ()
    # The text is JSON without an empty line, so what follows one can only be signatures.
    unverified, empty_line, signatures = text.partition("\n\n")
    if trusted:
        note = open_note(text, trusted)
        text, signers = note.text, note.signers
    elif not all(line.startswith("— ") for line in signatures.splitlines()):
        raise ManifestInvalid("the manifest is malformed: what follows it is no signature")
    else:
        # Signatures that nobody was asked to check are cut off, not believed.
        text = unverified
    return SignedManifest(manifest=_parsed(text), signers=signers, signed=bool(empty_line))


def _parsed(text: str) -> Manifest:
    _check_form(text)
    try:
        # Strict, but for what JSON has no form of: times, tuples and names of kinds.
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        # Keys come from the document, and a terminal must not be shown everything.
        where = ascii(".".join(str(part) for part in first["loc"]))[1:-1]
        raise ManifestInvalid(
            f"the manifest is malformed: {where[:100] or 'document'}: {first['msg']}"
        ) from None


def _check_form(text: str) -> None:
    """Refuse what does not say that it is a manifest, and another version of it, before the rest.

    The model would fill in a role that is missing; then something else could stand in its place.
    """
    try:
        document = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid("the manifest is malformed: it is not JSON, or is cut off") from error
    head = document if isinstance(document, dict) else {}
    if head.get("role") != "manifest":
        raise ManifestInvalid("the manifest is malformed: its role is not `manifest`")
    version = head.get("format")
    if type(version) is not int:
        raise ManifestInvalid("the manifest is malformed: it names no version of its format")
    if version != FORMAT:
        raise ManifestInvalid(
            f"the manifest has format {version!s:.20}, and this program reads format {FORMAT}",
            hint="use the version of this program that wrote it, or a newer one",
        )


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key given twice: two readers could then read two manifests in one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
