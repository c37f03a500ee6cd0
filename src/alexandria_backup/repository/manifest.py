"""The manifest: the signed document that makes an archive a snapshot; written last, never changed.

The form is JSON, indented for people, and, where it is signed, the signature lines of a C2SP signed
note behind it. The text begins with its role, so that nothing that was signed as something else can
stand in its place. One schema serves the file of the paper recipe (one base archive, no frames) and
whatever a repository keeps later.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from alexandria_backup.errors import ManifestInvalid
from alexandria_backup.sealing.signing import SigningKey, TrustedKey, open_note, sign_note
from alexandria_backup.storage.store import is_name

#: The version of the form.
FORMAT: Final = 1
#: A manifest is never larger: it lists tables, not rows.
LARGEST_BYTES = 64 * 1024 * 1024


def _plain_name(name: str) -> str:
    if "/" in name or not is_name(name):
        raise ValueError("not a plain file name")
    return name


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a time between the years 1 and 9999 in UTC") from None


#: Aware, and in UTC whatever the document's offset.
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
#: Of bytes, rows and the like; no larger than a bigint, so that any sum of them can be shown.
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
PlainName = Annotated[str, AfterValidator(_plain_name)]
Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SnapshotKind(StrEnum):
    """What a snapshot was taken for."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    UPGRADE = "upgrade"
    #: Taken by a restore of what it replaces; never what `latest` means.
    SAFETY = "safety"


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class ArchivePart(_Part):
    """The base archive: for the paper recipe, all there is."""

    name: PlainName
    #: Of the stored file, with its SHA-256.
    bytes: Count
    sha256: Sha256Hex
    #: `none`, `gzip`, `lz4` or `zstd`: of the bodies inside.
    compression: str
    #: PostgreSQL's name of the encoding of text and data.
    encoding: str


class DatabasePart(_Part):
    """The database that was dumped."""

    name: str
    oid: Count
    owner: str
    encoding: str
    locale_provider: str
    collate: str
    ctype: str
    locale: str | None
    icu_rules: str | None
    connection_limit: int
    comment: str | None
    tablespace: str
    size_bytes: Count | None
    #: `(grantee or None for PUBLIC, privilege, grantable)`.
    grants: tuple[tuple[str | None, str, bool], ...]
    #: `(role or None for all, name, value)`; the value is left out (None) where the parameter is
    #: not PostgreSQL's own, since applications keep secrets there.
    settings: tuple[tuple[str | None, str, str | None], ...]


class ServerPart(_Part):
    """The server that it was dumped from."""

    version: str
    version_num: Count
    system_identifier: int | None
    in_recovery: bool


class TablePart(_Part):
    """The rows of one table, as they were read back."""

    schema_name: str
    name: str
    columns: tuple[str, ...]
    #: None where the archive's form does not let them be counted.
    rows: Count | None
    #: Order-independent digest of the rows as COPY text: `rows:hex`.
    digest: str | None


class LargeObjectsPart(_Part):
    """The large objects, as they were read back."""

    count: Count
    bytes: Count | None
    digest: str | None


class AnchorPart(_Part):
    """The state of one audit chain in the snapshot."""

    chain: str
    count: Count
    first_id: str
    first_hmac: str
    last_id: str
    last_hmac: str
    #: SHA-256 over the canonical rows, in the chain's order.
    rolling: str


class AuditPart(_Part):
    """What the audit chain in the snapshot was found to be."""

    #: The status of the report, such as `intact` or `broken`.
    status: str
    summary: str
    rows: Count
    findings: Count
    anchors: tuple[AnchorPart, ...]


class Manifest(_Part):
    """What a snapshot is."""

    role: Literal["manifest"] = "manifest"
    format: Literal[1] = FORMAT
    #: None for a plain folder of files.
    repository: str | None
    snapshot: PlainName
    kind: SnapshotKind
    application: str
    note: str | None
    #: By the database server's clock, before the dump began.
    created: Instant
    #: When the stored archive had been read back in full; by this machine's clock.
    read_back: Instant
    #: Versions of this program and of pg_dump.
    tool: str
    pg_dump: str
    archive: ArchivePart
    #: Rows of large tables outside of the base archive; the paper recipe has none.
    frames: tuple[()] = ()
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

    @property
    def rows(self) -> int:
        """All rows that were counted."""
        return sum(table.rows or 0 for table in self.tables)


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
