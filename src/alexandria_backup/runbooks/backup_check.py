"""Before a bundle is made: what goes in, what is not there, and whether it fits."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from alexandria_backup.bundle.exclusions import Excluder
from alexandria_backup.bundle.selection import select
from alexandria_backup.bundle.walk import Walk
from alexandria_backup.errors import (
    AlexandriaError,
    ObjectExists,
    SpaceMissing,
)
from alexandria_backup.events import Note, Warned
from alexandria_backup.runbooks.backup_parts import BackupParts
from alexandria_backup.runbooks.bundle_state import BackupState
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, shell

#: The least share of the files that a bundle takes: text packs to a tenth.
_SMALLEST_SHARE = 0.10


@dataclass(frozen=True, kw_only=True)
class CheckSets(ReadingStep):
    """See what is there, what is not, and whether a bundle of it fits."""

    name: ClassVar[str] = "check"

    parts: BackupParts

    def explain(self, state: BackupState) -> Explanation:
        """List what is checked."""
        paths = [path for paths in self.parts.sets.values() for path in paths]
        room = f", and whether `{state.output}` has room for it"
        return Explanation(
            sentence="look at all that goes in" + room * (state.store is not None),
            commands=(shell("du", "--summarize", *paths), "df"),
        )

    def do(self, state: BackupState) -> Done[BackupState]:
        """Raise PrecheckRefused, SpaceMissing or ObjectExists before anything is written."""
        selected = select(self.parts.sets, self.parts.required)
        for one in selected:
            for path in one.contents.missing:
                self.parts.emit(Note(message=f"`{path}` of set `{one.name}` is not there"))
        warnings = [
            f"`{root}` is a link: the link goes into the bundle, and not what it leads to"
            for one in selected
            for root in one.contents.roots
            if os.path.islink(root)  # noqa: PTH114 - a path of text
        ]
        for warning in warnings:
            self.parts.emit(Warned(message=warning, hint="let the set name what it leads to"))
        excluder = Excluder(self.parts.options.exclusions)
        readers = self.parts.options.readers
        with readers.kept():
            walks = (Walk(one.name, one.contents, excluder) for one in selected)
            size = sum(readers.room(walk.batches()) for walk in walks)
            self._refuse_taken(state)
            self._refuse_full(state, size)
        found = state.model_copy(
            update={
                "created": datetime.now(UTC),
                "expected_bytes": size,
                "snapshot": self._snapshot(),
                "warnings": (*state.warnings, *warnings),
            }
        )
        return Done(found, f"{size:,} bytes in {len(selected)} sets")

    def _refuse_taken(self, state: BackupState) -> None:
        store, name = self.parts.store, state.name
        if store is None or name is None or state.overwrite:
            return
        if store.head(name) is not None:
            raise ObjectExists(
                f"`{state.output}` exists already, and nothing is overwritten",
                hint="choose another name with `--output`, or add `--overwrite`",
            )

    def _refuse_full(self, state: BackupState, size: int) -> None:
        free = self.parts.store.free_bytes() if self.parts.store else None
        if free is None:
            return
        if free < size * _SMALLEST_SHARE:
            raise SpaceMissing(
                f"there are {free:,} bytes free for `{state.output}`, and the files have {size:,}",
                hint="free space there, or choose another place with `--output`",
            )
        if free < size:
            self.parts.emit(
                Note(message=f"there are {free:,} bytes free, less than the {size:,} of the files")
            )

    def _snapshot(self) -> str | None:
        try:
            return self.parts.snapshot()
        except AlexandriaError as error:
            said = f"the newest snapshot could not be asked for: {error.message}"
            self.parts.emit(Note(message=said))
            return None
