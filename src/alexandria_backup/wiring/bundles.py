"""Making bundles, and looking at them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from alexandria_backup.bundle.opened import OpenedBundle
from alexandria_backup.bundle.pack import PackOptions
from alexandria_backup.bundle.readers import Readers
from alexandria_backup.bundle.selection import any_of, select
from alexandria_backup.bundle.source import (
    stream_source,
)
from alexandria_backup.errors import SnapshotMissing
from alexandria_backup.runbooks import backup as backing_up
from alexandria_backup.runbooks.backup_parts import BackupParts
from alexandria_backup.runbooks.bundle_compare import (
    BundleDescription,
    BundleDifference,
    BundleVerdict,
    compare_bundles,
    compare_live,
    describe_bundle,
    verify_bundle,
)
from alexandria_backup.runbooks.bundle_state import (
    BackupState,
)
from alexandria_backup.runbooks.doctor_bundle import BundleCheck
from alexandria_backup.runbooks.procedure import Procedure
from alexandria_backup.runbooks.step import Runbook
from alexandria_backup.runbooks.transition import Transition, read_state
from alexandria_backup.sealing.blocks import Compression
from alexandria_backup.sealing.encryption import Recipient
from alexandria_backup.wiring.bundle_exclusions import exclusions
from alexandria_backup.wiring.bundle_opening import bundle_identities, open_bundle, restore_lock
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.runs import Rebuild, Rebuilt, begin, new_run
from alexandria_backup.wiring.target import target

if TYPE_CHECKING:
    from alexandria_backup.wiring.places import Places


@dataclass(frozen=True, kw_only=True)
class Bundles:
    """What `alexandria backup` does, and its helpers that change nothing."""

    rooms: Rooms
    #: Asked only where a repository is set.
    places: "Callable[[], Places]"

    @property
    def rebuild(self) -> Mapping[str, Rebuild]:
        """How the runbook of this family is built from its journal."""
        return {backing_up.NAME: self._stopped_backup}

    def create(
        self,
        *,
        output: str | None,
        stdout: BinaryIO | None,
        overwrite: bool,
        compress: Compression | None,
        recipients: tuple[str, ...],
        redact: bool,
        models: bool,
        read_back: bool,
    ) -> Procedure[BackupState]:
        """Return the making of a bundle: a file, an object, or standard output (`-`)."""
        named = output or self.rooms.settings.bundle.output
        store, name = (None, None) if output == "-" else _target(named)
        state = BackupState(
            run=new_run(backing_up.NAME),
            output="-" if store is None else f"{store.rstrip('/')}/{name}",
            store=store,
            name=name,
            overwrite=overwrite,
            compress=compress or Compression(self.rooms.settings.bundle.compress),
            models=models or self.rooms.settings.bundle.models,
            redacted=redact,
            read_back=read_back,
            recipients=tuple(str(one) for one in self._recipients(recipients)),
        )
        runbook = self._backup_runbook(state, stdout=stdout)
        return begin(self.rooms, runbook, state, journalled=store is not None)

    def show(self, name: str) -> BundleDescription:
        """Return what a bundle says of itself."""
        return describe_bundle(open_bundle(self.rooms, name), self.rooms.trusted_keys)

    def verify(self, name: str, stdin: Callable[[], BinaryIO]) -> BundleVerdict:
        """Read a bundle in full; `-` is standard input."""
        if name == "-":
            opened = OpenedBundle(
                lambda: stream_source(stdin(), lambda: bundle_identities(self.rooms))
            )
        else:
            opened = open_bundle(self.rooms, name)
        return verify_bundle(opened, self.rooms.trusted_keys, self.rooms.emit)

    def diff(self, left: str, right: str | None) -> BundleDifference:
        """Return what changed from a bundle to another, or to this machine (`live`)."""
        if right is not None and right != "live":
            return compare_bundles(open_bundle(self.rooms, left), open_bundle(self.rooms, right))
        opened = open_bundle(self.rooms, left)
        redacted = opened.manifest().head.redacted
        settings = self.rooms.settings
        left_out = exclusions(settings, redact=redacted, models=settings.bundle.models, output="-")
        return compare_live(opened, left_out, settings.bundle.staging_dir)

    def check(self) -> BundleCheck | None:
        """Return what the doctor looks at; None where nothing of any set is on this machine."""
        settings = self.rooms.settings.bundle
        sets = settings.sets
        if not any(any_of(paths) for paths in sets.values()):
            return None
        return BundleCheck(
            selected=lambda: select(sets, settings.must_have()),
            output=settings.output or ".",
            recipients=len(self.rooms.settings.encryption.recipients),
        )

    def _backup_runbook(
        self, state: BackupState, *, stdout: BinaryIO | None
    ) -> Runbook[BackupState]:
        settings = self.rooms.settings.bundle
        threads = settings.threads or os.cpu_count() or 1
        left_out = exclusions(
            self.rooms.settings, redact=state.redacted, models=state.models, output=state.output
        )
        parts = BackupParts(
            sets=settings.sets,
            required=settings.must_have(),
            options=PackOptions(
                exclusions=left_out,
                readers=Readers(left_out, threads),
                settle=settings.settle,
                staging=settings.staging_dir,
                compression=state.compress,
                threads=threads,
                key=self.rooms.signing_key,
                emit=self.rooms.emit,
            ),
            store=None if state.store is None else self.rooms.store(state.store),
            stdout=stdout,
            recipients=tuple(Recipient.parse(text) for text in state.recipients),
            identities=lambda: bundle_identities(self.rooms),
            application=self.rooms.settings.application.name,
            snapshot=self._snapshot,
            emit=self.rooms.emit,
        )
        return backing_up.backup_runbook(parts, read_back=state.read_back)

    def _stopped_backup(self, last: Transition) -> Rebuilt[BackupState]:
        state = read_state(BackupState, last)
        return Rebuilt(
            runbook=self._backup_runbook(state, stdout=None), lock=lambda: restore_lock(self.rooms)
        )

    def _recipients(self, given: tuple[str, ...]) -> tuple[Recipient, ...]:
        texts = given or self.rooms.settings.encryption.recipients
        return tuple(Recipient.parse(text) for text in texts)

    def _snapshot(self) -> str | None:
        if self.rooms.settings.repository is None:
            return None
        try:
            return self.places().latest().id
        except SnapshotMissing:
            return None


def _target(output: str | None) -> tuple[str, str]:
    """Return store and name of `--output`; in a folder the name is of today."""
    today = f"alexandria-backup-{datetime.now(UTC):%Y-%m-%d}.tar.gz"
    store, name = target(output or ".")
    return store, name or today
