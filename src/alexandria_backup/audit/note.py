"""Anchors as a signed note, for a place that the database's administrators cannot write to.

The form is that of C2SP signed notes (https://c2sp.org/signed-note): a text, an empty line, and the
signature. The text is JSON that begins with its role, so nothing that was signed as something else
can stand in its place.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.errors import ManifestInvalid
from alexandria_backup.sealing.signing import SigningKey, TrustedKey, open_note, sign_note

_ROLE: Final = "audit-anchor"
_FORMAT: Final = 1
#: What the name of a note ends with.
SUFFIX: Final = ".anchor"
_LARGEST: Final = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class AnchorNote:
    """The state of all chains of a database at one time, as somebody vouches for it."""

    application: str
    database: str
    #: Of the database server; None where it could not be read.
    system_identifier: int | None
    #: The table that holds the chain, as `schema.name`.
    table: str
    #: By the clock of the database server.
    at: datetime
    #: The status of the verification that went before, such as `intact`.
    status: str
    anchors: tuple[Anchor, ...]

    @property
    def name(self) -> str:
        """A file name that sorts by time and tells the number of rows."""
        rows = sum(anchor.count for anchor in self.anchors)
        stamp = self.at.astimezone(UTC).strftime("%Y%m%dT%H%M%S%f")
        return f"{self.application}-{stamp}-{rows}{SUFFIX}"

    def concerns(self, application: str, database: str) -> bool:
        """Tell whether it speaks of this database of this application."""
        return (self.application, self.database) == (application, database)


def encode(note: AnchorNote, key: SigningKey) -> str:
    """Return the signed note."""
    told = {"role": _ROLE, "format": _FORMAT, **asdict(note), "at": note.at.isoformat()}
    return sign_note(json.dumps(told, indent=1, ensure_ascii=False) + "\n", key)


def decode(document: bytes, trusted: Sequence[TrustedKey]) -> AnchorNote:
    """Read a note that one of the trusted keys has signed.

    Raises ManifestInvalid for everything that is not such a note, WrongKey where only others have
    signed it.
    """
    if len(document) > _LARGEST:
        raise ManifestInvalid(f"the anchor has {len(document):,} bytes, too many to be one")
    try:
        opened = open_note(document.decode(), trusted)
        told = json.loads(opened.text)
        if (told.pop("role"), told.pop("format")) != (_ROLE, _FORMAT):
            raise ManifestInvalid("the document is signed, and no anchor of this format")
        return AnchorNote(
            **{
                **told,
                "at": datetime.fromisoformat(told["at"]),
                "anchors": tuple(map(_anchor, told["anchors"])),
            }
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ManifestInvalid("the document is not an anchor of this format") from error


def _anchor(told: dict[str, Any]) -> Anchor:
    known = {field.name for field in fields(Anchor)}
    if set(told) - known or not isinstance(told["count"], int):
        raise ValueError("not an anchor")
    return Anchor(**told)
