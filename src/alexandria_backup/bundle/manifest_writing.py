"""Writing a manifest as its entries come."""

import json
from hashlib import sha256

from alexandria_backup.bundle.entry import Entry
from alexandria_backup.bundle.manifest import (
    END_LINE,
    ENTRIES_LINE,
    HEAD_LINE,
    TAIL_LINE,
    Head,
    Tail,
    note_text,
)
from alexandria_backup.bundle.spool import LineSpool
from alexandria_backup.sealing.signing import SigningKey, sign_note


class ManifestWriter:
    """Writes a manifest as its entries come."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._digest = sha256()
        self._spool = LineSpool(self._digest.update)
        self._spool.add(HEAD_LINE + head.model_dump_json().encode() + b",")
        self._spool.add(ENTRIES_LINE)
        #: What was added last: no comma follows the last entry.
        self._held: bytes | None = None
        self._held_entries = 0

    def add(self, entry: Entry) -> None:
        """Add an entry; they come in the order of members."""
        self.add_lines(entry.line(), 1)

    def add_lines(self, lines: bytes, entries: int) -> None:
        """Add entries, at least one, by their lines: joined with what stands between them."""
        if self._held is not None:
            self._spool.add_several(self._held + b",", self._held_entries)
        self._held, self._held_entries = lines, entries

    def finish(self, tail: Tail, key: SigningKey | None) -> LineSpool:
        """Return the whole document."""
        if self._held is not None:
            self._spool.add_several(self._held, self._held_entries)
        self._spool.add(END_LINE)
        self._spool.add(TAIL_LINE + tail.model_dump_json().encode() + b",")
        self._spool.settle()
        found = self._digest.hexdigest()
        note = sign_note(note_text(self._head.bundle, found), key) if key else None
        self._spool.add(f'"seal": {{"sha256": "{found}", "note": {json.dumps(note)}}}}}'.encode())
        return self._spool
