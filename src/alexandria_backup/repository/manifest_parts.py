"""The parts of a manifest: what is said of database, server, tables and stored bytes.

Each is frozen, and refuses fields that it does not know: a manifest that says more than this
version understands is of another format, and is not half-read.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from alexandria_backup.storage.store import is_name

#: The most bytes that a stored object has, before it is compressed and after.
LARGEST_OBJECT_BYTES = 32 * 1024 * 1024


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
#: Keyed, so that nobody without the key can confirm a guess.
Blake3Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SnapshotKind(StrEnum):
    """What a snapshot was taken for."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    UPGRADE = "upgrade"
    #: Taken by a restore of what it replaces; never what `latest` means.
    SAFETY = "safety"


class Part(BaseModel):
    """The root of all parts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        defer_build=True,
    )


class StoredPart(Part):
    """Some bytes of an archive or a frame, and the object that keeps them."""

    #: SHA-256 of the object's bytes as they are stored: its name.
    object: Sha256Hex
    #: Of the object as it is stored: compressed, and sealed where the repository is encrypted.
    bytes: Annotated[int, Field(ge=0, le=LARGEST_OBJECT_BYTES + 64 * 1024)]
    #: Of what it holds, with the keyed BLAKE3 of that.
    raw_bytes: Annotated[int, Field(ge=0, le=LARGEST_OBJECT_BYTES)]
    raw_digest: Blake3Hex


class ArchivePart(Part):
    """The base archive: for the paper recipe, all there is."""

    #: Of the file beside the manifest; None in a repository, which keeps it as `parts`.
    name: PlainName | None
    #: Of the file, or else of what the parts hold, joined.
    bytes: Count
    #: Of the file, or else of what the parts hold, joined: that is keyed, see `keyed_digests`.
    sha256: Annotated[str, Field(pattern=r"^(blake3:)?[0-9a-f]{64}$")]
    #: `none`, `gzip`, `lz4` or `zstd`: of the bodies inside.
    compression: str
    #: PostgreSQL's name of the encoding of text and data.
    encoding: str
    #: In order; empty where there is a file.
    parts: tuple[StoredPart, ...] = ()

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if (self.name is None) != bool(self.parts):
            raise ValueError("an archive is either a file or stored in parts")
        if self.parts and self.bytes != sum(part.raw_bytes for part in self.parts):
            raise ValueError("the bytes of the parts do not add up")
        return self


class DatabasePart(Part):
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


class ServerPart(Part):
    """The server that it was dumped from."""

    version: str
    version_num: Count
    system_identifier: int | None
    in_recovery: bool


class OriginPart(Part):
    """Where in the database server's history a snapshot stands: what taking over rests on."""

    #: As the server writes it, such as `0/15D68C8`.
    lsn: Annotated[str, Field(pattern=r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")]
    timeline: Count
    #: With their epochs, of the snapshot's own transaction.
    xmin: Count
    xmax: Count
    #: The nonce that was committed after the snapshot was taken; None where none could be written.
    marker: str | None
    #: Keyed digest of what else must be the same in the whole cluster.
    cluster: Blake3Hex


class FramePart(Part):
    """The rows of one page range of a table, as COPY text."""

    #: The first page of the range.
    first_page: Count
    #: The page after the last one; None where the range is the whole table.
    end_page: Count | None
    rows: Count
    parts: tuple[StoredPart, ...]
    #: The snapshot that read these rows, where they were taken over from it; None where this did.
    taken_from: PlainName | None
    #: Why they were taken over, or why they were read.
    reason: str


class FramedPart(Part):
    """How the rows of a large table are kept outside of the base archive."""

    oid: Count
    #: As pg_dump would write it, with its line feed.
    copy_statement: str
    #: Pages of one frame; None where the table is one frame.
    frame_pages: Annotated[int, Field(ge=1)] | None
    #: What must be the same for rows to be taken over: a keyed digest for each of `storage`,
    #: `columns` and `types`. None where nothing of this table may ever be taken over.
    fingerprint: dict[str, Blake3Hex] | None
    #: By page range, from page 0 and without gaps.
    frames: tuple[FramePart, ...]

    @model_validator(mode="after")
    def _without_gaps(self) -> Self:
        """A range that is missing, or there twice, would be rows lost or doubled."""
        expected: int | None = 0
        for frame in self.frames:
            if frame.first_page != expected:
                raise ValueError("page ranges have gaps or overlap")
            expected = frame.end_page
        return self


class TablePart(Part):
    """The rows of one table, as they were read back or, of a large table, copied out."""

    schema_name: str
    name: str
    columns: tuple[str, ...]
    #: None where the archive's form does not let them be counted.
    rows: Count | None
    #: Order-independent digest of the rows as COPY text: `rows:hex`, and in a repository keyed; see
    #: `keyed_digests`. None for a framed table, whose parts carry digests of their own.
    digest: str | None
    #: None where the rows are in the base archive.
    framed: FramedPart | None = None

    @model_validator(mode="after")
    def _rows_add_up(self) -> Self:
        if self.framed and self.rows != sum(frame.rows for frame in self.framed.frames):
            raise ValueError("the rows of the frames do not add up")
        return self


class LargeObjectsPart(Part):
    """The large objects, as they were read back."""

    count: Count
    bytes: Count | None
    digest: str | None


class AnchorPart(Part):
    """The state of one audit chain in the snapshot."""

    chain: str
    count: Count
    first_id: str
    first_hmac: str
    last_id: str
    last_hmac: str
    #: The digest over the canonical rows, in the chain's order.
    rolling: str
    #: What that digest can be gone on from; None in the first release, which computed it otherwise.
    settled: str | None = None
    #: The incarnation of the database that it belongs to; None where no restore has declared one.
    incarnation: str | None = None


class AuditPart(Part):
    """What the audit chain in the snapshot was found to be."""

    #: The status of the report, such as `intact` or `broken`.
    status: str
    summary: str
    rows: Count
    findings: Count
    anchors: tuple[AnchorPart, ...]
