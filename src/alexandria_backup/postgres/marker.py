"""The comment by which a database tells which run it belongs to."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

#: The key under which a comment is ours.
_KEY = "alexandria-backup"


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Which run a database belongs to, and as what."""

    run: str
    #: `shadow`: being built; `kept`: replaced by a swap.
    role: Literal["shadow", "kept"]
    #: The name of the database that it stands beside.
    of: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: The comment that the marker took the place of; it comes back when the database does.
    comment: str | None = None

    def encode(self) -> str:
        """Return the text that stands in the comment."""
        content = {
            "run": self.run,
            "role": self.role,
            "of": self.of,
            "at": self.at.isoformat(),
            "comment": self.comment,
        }
        return json.dumps({_KEY: content}, ensure_ascii=False)

    @classmethod
    def decode(cls, comment: str | None) -> "Marker | None":
        """Return the marker in a comment, or None where the comment is somebody else's."""
        try:
            content = json.loads(comment or "")[_KEY]
            run, role, of = content["run"], content["role"], content["of"]
            at = datetime.fromisoformat(content["at"])
            comment = content.get("comment")
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if role not in {"shadow", "kept"} or at.tzinfo is None:
            return None
        if comment is not None and not isinstance(comment, str):
            return None
        return cls(run=str(run), role=role, of=str(of), at=at, comment=comment)


def without_marker(comment: str | None) -> str | None:
    """Return a comment as it was before any run of ours wrote a marker over it."""
    while marker := Marker.decode(comment):
        comment = marker.comment
    return comment
