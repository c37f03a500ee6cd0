"""The first step of a drill: the snapshot is read to its end, and is what its manifest says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from alexandria_backup.archive.inventory import event_triggers, subscriptions
from alexandria_backup.copying.read_archive import ReadArchive
from alexandria_backup.errors import DrillInconclusive, SnapshotDamaged
from alexandria_backup.events import Warned
from alexandria_backup.runbooks.anchors import anchors_of
from alexandria_backup.runbooks.drill_server import COMMAND
from alexandria_backup.runbooks.drill_stage import Stage
from alexandria_backup.runbooks.restore_find import read_source
from alexandria_backup.runbooks.restore_state import RestoreState, Source
from alexandria_backup.runbooks.step import Done, Explanation, ReadingStep, shell
from alexandria_backup.runbooks.verify import compare_with_manifest


@dataclass(frozen=True, kw_only=True)
class Find(ReadingStep):
    """Read the snapshot to its end, and compare it with its manifest."""

    name: ClassVar[str] = "find"

    stage: Stage

    def explain(self, state: RestoreState) -> Explanation:
        """Name the archive."""
        name = state.request.archive
        archive = self.stage.place.as_file(name)
        return Explanation(
            sentence=f"read `{name}` in full and compare it with its manifest",
            commands=(*archive.commands, shell("pg_restore", "--file=/dev/null", archive.file)),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Raise SnapshotDamaged where it is not what was recorded."""
        stage = self.stage
        entry, read, source = read_source(
            stage.place,
            state.request.archive,
            stage.chain,
            stage.emit,
            command=COMMAND,
            in_full=True,
        )
        if entry.manifest is None:
            stage.emit(Warned(message=f"`{entry.id}` has no manifest: nobody says what it holds"))
        else:
            compare_with_manifest(entry, read)
        state = state.model_copy(update={"source": source})
        _compare_chain(stage, state)
        for left_out in _acting(read, source):
            stage.leave_out(left_out)
        return Done(state, f"{len(source.tables)} tables, {read.rows:,} rows")


def _acting(read: ReadArchive, source: Source) -> Iterator[str]:
    """Yield a line for each thing that is not made, since it would act on the world."""
    for trigger in event_triggers(read.entries):
        yield f"event trigger `{trigger.tag}` is not made in a drill: it acts on the world"
    for subscription in subscriptions(read.entries):
        yield f"subscription `{subscription.tag}` is not made in a drill: it acts on the world"
    for view in source.not_filled:
        yield (
            f"materialized view `{view.label}` is not filled in a drill: its query may act on "
            "another server"
        )
    for table in source.foreign_rows:
        yield (
            f"the archive's rows of foreign table `{table.label}` are not inserted in a drill: "
            "they would change another server"
        )


def _compare_chain(stage: Stage, state: RestoreState) -> None:
    """Compare the audit chain with the anchors in the manifest.

    Rows and digests are those of the manifest already. An anchor that differs all the same was
    altered, unless the chain is read by another recipe here, and then nothing can be told.
    """
    manifest, found = stage.entry.manifest, state.known_source.chain
    recorded = anchors_of(manifest) if manifest is not None else ()
    if manifest is None or manifest.audit is None or not recorded:
        return
    if found is not None and set(found.rolling) == {anchor.rolling for anchor in recorded}:
        return
    if found is not None and found.status == manifest.audit.status:
        raise SnapshotDamaged(
            f"the audit chain in `{stage.entry.id}` is not the one of its manifest: "
            f"{found.summary}; recorded was {manifest.audit.summary}",
            hint="alexandria snapshot list   # choose another snapshot",
        )
    raise DrillInconclusive(
        f"the audit chain in `{stage.entry.id}` cannot be compared with its manifest: "
        f"{found.summary if found else 'none was found'}; recorded was {manifest.audit.summary}",
        hint="set `[audit]` as on the machine that took the snapshot",
    )
