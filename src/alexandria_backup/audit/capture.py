"""Evidence: what the rows at fault are, exactly, before anybody touches one of them.

A capture is a zip file. `capture.note` is a signed note (C2SP) whose text lists every other member
with its SHA-256, says where, when and by whom it was made, and what it does not prove.
`rows.ndjson` and `neighbours.ndjson` hold rows with their exact bytes, `report.json` the
verification, and `index.html` is all of it for a person. One signature covers the whole.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from alexandria_backup.audit.capture_page import page
from alexandria_backup.audit.capture_rows import CapturedRow, read_rows, set_digest, written
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.errors import ManifestInvalid
from alexandria_backup.sealing.signing import SigningKey, TrustedKey, open_note, sign_note

ROLE: Final = "audit-capture"
_FORMAT: Final = 1
_NOTE: Final = "capture.note"
_ROWS: Final = "rows.ndjson"
_NEIGHBOURS: Final = "neighbours.ndjson"
_REPORT: Final = "report.json"
_PAGE: Final = "index.html"
_MEMBERS: Final = (_ROWS, _NEIGHBOURS, _REPORT, _PAGE)
#: The same capture has the same bytes: a zip's own times say nothing.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
#: What reading a damaged zip raises.
_BAD_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
)


@dataclass(frozen=True, kw_only=True)
class CaptureFacts:
    """What a capture says of itself."""

    application: str
    database: str
    #: Of the database server; None where it could not be read.
    system_identifier: int | None
    server_version: str
    table: str
    recipe: str
    #: By the clock of the database server.
    at: datetime
    #: Who made it, on which machine, with which version of this program.
    operator: str
    host: str
    tool: str
    #: Why, in the operator's words.
    reason: str
    #: What was captured: `findings`, or the head of a chain through a row.
    scope: str
    status: str
    summary: str
    rows: int
    #: Over the canonical rows, whatever their order; what `audit retire` compares.
    rows_digest: str
    #: The chain whose first rows these are, how many, and the HMAC of the last one; else None.
    head: tuple[str, int, str] | None
    #: What this does not prove.
    limits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OpenedCapture:
    """A capture that was verified."""

    facts: CaptureFacts
    #: SHA-256 of the file as a whole.
    sha256: str
    #: Names of the trusted keys that have signed it.
    signers: tuple[str, ...]
    rows: tuple[CapturedRow, ...]


def seal(
    facts: CaptureFacts,
    *,
    rows: Sequence[CapturedRow],
    neighbours: Sequence[CapturedRow],
    report: AuditReport,
    key: SigningKey,
) -> bytes:
    """Return the file."""
    members = {
        _ROWS: written(rows),
        _NEIGHBOURS: written(neighbours),
        _REPORT: _json(_plain(asdict(report))),
        _PAGE: page(facts, rows, report, signer=key.trusted).encode(),
    }
    told = {
        "role": ROLE,
        "format": _FORMAT,
        **_plain(asdict(facts)),
        "members": {name: sha256(data).hexdigest() for name, data in members.items()},
    }
    note = sign_note(_json(told).decode(), key)
    return _packed({_NOTE: note.encode(), **members})


def open_capture(data: bytes, trusted: Sequence[TrustedKey]) -> OpenedCapture:
    """Verify a capture: the signature, every member, and each row's digest.

    Raises ManifestInvalid where a byte of it is not what was signed, and WrongKey where no trusted
    key has signed it.
    """
    members = _members(data)
    opened = open_note(_text(members.pop(_NOTE, None)), trusted)
    try:
        told = json.loads(opened.text)
        if (told.pop("role"), told.pop("format")) != (ROLE, _FORMAT):
            raise ManifestInvalid("the file is signed, and no capture of this format")
        listed = told.pop("members")
        facts = _facts(told)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ManifestInvalid("the capture's note is not of this format") from error
    _compare_members(listed, members)
    rows = read_rows(members[_ROWS])
    if len(rows) != facts.rows or set_digest(rows) != facts.rows_digest:
        raise ManifestInvalid("the captured rows are not those that the capture's note counts")
    return OpenedCapture(
        facts=facts, sha256=sha256(data).hexdigest(), signers=opened.signers, rows=tuple(rows)
    )


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ManifestInvalid("the capture holds two members of one name")
            found = {name: archive.read(name) for name in names}
    except _BAD_ZIP as error:
        raise ManifestInvalid(f"the file is not a whole capture: {error}") from error
    # What a zip says beside its members is signed by nobody, so there must be nothing of it.
    if _packed(found) != data:
        raise ManifestInvalid("the capture was altered: it is not as this program writes it")
    return found


def _packed(members: Mapping[str, bytes]) -> bytes:
    """Return the one file that has these members, in this order; nothing is compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o600 << 16
            archive.writestr(info, data)
    return file.getvalue()


def _compare_members(listed: Any, members: Mapping[str, bytes]) -> None:  # noqa: ANN401 - JSON
    if not isinstance(listed, dict) or set(listed) != set(members) or set(listed) != set(_MEMBERS):
        raise ManifestInvalid("the capture does not hold what its note lists")
    for name, data in members.items():
        if sha256(data).hexdigest() != listed[name]:
            raise ManifestInvalid(f"`{name}` in the capture was altered")


def _facts(told: Mapping[str, Any]) -> CaptureFacts:
    head = told["head"]
    return CaptureFacts(
        **{
            **told,
            "at": datetime.fromisoformat(told["at"]),
            "limits": tuple(told["limits"]),
            "head": None if head is None else (str(head[0]), int(head[1]), str(head[2])),
        }
    )


def _text(note: bytes | None) -> str:
    if note is None:
        raise ManifestInvalid(f"the file is no capture: it has no `{_NOTE}`")
    try:
        return note.decode()
    except UnicodeDecodeError:
        raise ManifestInvalid("the capture's note is not UTF-8") from None


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a dataclass holds
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
