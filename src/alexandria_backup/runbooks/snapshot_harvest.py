"""What an attempt at a snapshot has stored and seen so far: kept, should it get no further."""

import time
from contextlib import suppress
from typing import Final

from alexandria_backup.audit.report import AuditReport
from alexandria_backup.copying.frames import TableFrames
from alexandria_backup.errors import AlexandriaError
from alexandria_backup.repository.manifest_parts import FramePart, StoredPart
from alexandria_backup.repository.writing import SnapshotWriting

#: Seconds after which what was stored is written down.
_PARTIAL_AFTER_S: Final = 20.0


class Harvest:
    """What an attempt has gathered so far; what it stored is written down from time to time."""

    def __init__(self, work: SnapshotWriting) -> None:
        self._work = work
        self._waiting: list[StoredPart] = []
        self._written = time.monotonic()
        self.report: AuditReport | None = None
        #: Whether the audit chain was looked for, and verified where there is one.
        self.looked = False
        self.warnings: list[str] = []

    def add(self, _table: TableFrames, frame: FramePart) -> None:
        """Take note of a frame that was stored."""
        self._waiting += frame.parts
        if time.monotonic() - self._written >= _PARTIAL_AFTER_S:
            self._write()

    def write_quietly(self) -> None:
        """Write down what is left, on the way out of a failure that matters more."""
        with suppress(AlexandriaError):
            self._write()

    def _write(self) -> None:
        self._work.partials.write(self._waiting)
        self._waiting, self._written = [], time.monotonic()
