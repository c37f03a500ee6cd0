"""The comment by which a database, or what a run has put aside in one, tells whose it is."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

#: `shadow`: being built, or to be dropped; `kept`: replaced.
MarkerRole = Literal["shadow", "kept"]
#: The key under which a comment is ours.
_KEY = "alexandria-backup"


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Which run a database, or something in it, belongs to, and as what."""

    run: str
    role: MarkerRole
    #: The name of the database that it stands beside, or its own before it was put aside.
    of: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: The comment that the marker took the place of; it comes back when the database does.
    comment: str | None = None
    #: True for a schema that holds what was in the one it was named after, which has stayed.
    stays: bool = False
    #: Of a shadow: something may have been loaded into it.
    begun: bool = False

    def encode(self) -> str:
        """Return the text that stands in the comment."""
        content: dict[str, object] = {
            "run": self.run,
            "role": self.role,
            "of": self.of,
            "at": self.at.isoformat(),
            "comment": self.comment,
            "begun": self.begun,
        }
        if self.stays:
            content["stays"] = True
        return json.dumps({_KEY: content}, ensure_ascii=False)

    @classmethod
    def decode(cls, comment: str | None) -> "Marker | None":
        """Return the marker in a comment, or None where the comment is somebody else's."""
        try:
            content = json.loads(comment or "")[_KEY]
            run, role, of = content["run"], content["role"], content["of"]
            at = datetime.fromisoformat(content["at"])
            comment, begun = content.get("comment"), content.get("begun", True)
            stays = content.get("stays", False) is True
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if role not in {"shadow", "kept"} or at.tzinfo is None:
            return None
        if comment is not None and not isinstance(comment, str):
            return None
        return cls(
            run=str(run),
            role=role,
            of=str(of),
            at=at,
            comment=comment,
            stays=stays,
            # Of one that cannot be read the worst is believed.
            begun=begun is not False,
        )


def without_marker(comment: str | None) -> str | None:
    """Return a comment as it was before any run of ours wrote a marker over it."""
    while marker := Marker.decode(comment):
        comment = marker.comment
    return comment
