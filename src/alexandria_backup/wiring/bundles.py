"""Making bundles, looking at them, restoring them."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from alexandria_backup.bundle.opened import OpenedBundle
from alexandria_backup.bundle.pack import PackOptions
from alexandria_backup.bundle.selection import Exclusions, any_of, select
from alexandria_backup.bundle.source import (
    BundleSource,
    file_source,
    object_source,
    stream_source,
)
from alexandria_backup.errors import SnapshotMissing, WrongKey
from alexandria_backup.runbooks import backup as backing_up
from alexandria_backup.runbooks import bundle_restore as restoring
from alexandria_backup.runbooks import bundle_rollback as rolling_back
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
from alexandria_backup.runbooks.bundle_lock import only_restore
from alexandria_backup.runbooks.bundle_restore_parts import BundleRestoreParts
from alexandria_backup.runbooks.bundle_state import (
    BackupState,
    BundleAcceptState,
    BundleRestoreRequest,
    BundleRestoreState,
    BundleRollbackState,
    SwapState,
)
from alexandria_backup.runbooks.doctor_bundle import BundleCheck
from alexandria_backup.runbooks.journal import existing
from alexandria_backup.runbooks.procedure import Procedure, refuse_unfinished
from alexandria_backup.runbooks.step import Runbook
from alexandria_backup.runbooks.transition import Transition, read_state
from alexandria_backup.sealing.blocks import Compression
from alexandria_backup.sealing.encryption import Identity, Recipient
from alexandria_backup.storage.locate import split_location
from alexandria_backup.wiring.bundle_exclusions import exclusions
from alexandria_backup.wiring.places import Places, target
from alexandria_backup.wiring.rooms import Rooms
from alexandria_backup.wiring.runs import Rebuild, Rebuilt, begin, new_run


@dataclass(frozen=True, kw_only=True)
class Bundles:
    """What `alexandria backup` does, and what `rollback` and `run accept` do with bundles."""

    rooms: Rooms
    places: Places

    @property
    def rebuild(self) -> Mapping[str, Rebuild]:
        """How each runbook of this family is built from its journal."""
        return {
            backing_up.NAME: self._stopped_backup,
            restoring.NAME: self._stopped_restore,
            rolling_back.ROLLBACK: self._stopped_rollback,
            rolling_back.ACCEPT: lambda _: Rebuilt(
                runbook=rolling_back.bundle_accept_runbook(), lock=self._lock
            ),
        }

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
        return describe_bundle(self._opened(name), self.rooms.trusted_keys)

    def verify(self, name: str, stdin: Callable[[], BinaryIO]) -> BundleVerdict:
        """Read a bundle in full; `-` is standard input."""
        if name == "-":
            opened = OpenedBundle(lambda: stream_source(stdin(), self._identities))
        else:
            opened = self._opened(name)
        return verify_bundle(opened, self.rooms.trusted_keys, self.rooms.emit)

    def diff(self, left: str, right: str | None) -> BundleDifference:
        """Return what changed from a bundle to another, or to this machine (`live`)."""
        if right is not None and right != "live":
            return compare_bundles(self._opened(left), self._opened(right))
        opened = self._opened(left)
        redacted = opened.manifest().head.redacted
        exclusions = self._exclusions(redact=redacted, models=self.rooms.settings.bundle.models)
        return compare_live(opened, exclusions, self.rooms.settings.bundle.staging_dir)

    def restore(
        self, name: str, *, to: str, sets: tuple[str, ...] | None
    ) -> Procedure[BundleRestoreState]:
        """Return the restore of a bundle to `/`, or to a folder that stands for it."""
        request = BundleRestoreRequest(source=_absolute(name), to=_absolute(to), sets=sets)
        state = BundleRestoreState(run=new_run(restoring.NAME), request=request)
        return begin(self.rooms, self._restore_runbook(request), state, lock=self._lock)

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

    def is_restore(self, run: str) -> bool:
        """Tell whether a run has exchanged what came out of a bundle."""
        return run.startswith((f"{restoring.NAME}-", f"{rolling_back.ROLLBACK}-"))

    def rollback(self, of_run: str) -> Procedure[BundleRollbackState]:
        """Return the way back from a restore of a bundle."""
        done = self._finished(of_run)
        run = new_run(rolling_back.ROLLBACK)
        state = BundleRollbackState(
            run=run, of_run=of_run, live=done.live, roots=rolling_back.roots_back(done, run)
        )
        return begin(self.rooms, self._rollback_runbook(state), state, lock=self._lock)

    def accept(self, of_run: str) -> Procedure[BundleAcceptState]:
        """Return the removal of what a restore of a bundle has kept."""
        kept = rolling_back.kept_by(self._finished(of_run).roots)
        state = BundleAcceptState(run=new_run(rolling_back.ACCEPT), of_run=of_run, kept=kept)
        runbook = rolling_back.bundle_accept_runbook()
        return begin(self.rooms, runbook, state, lock=self._lock)

    def _backup_runbook(
        self, state: BackupState, *, stdout: BinaryIO | None
    ) -> Runbook[BackupState]:
        settings = self.rooms.settings.bundle
        parts = BackupParts(
            sets=settings.sets,
            required=settings.must_have(),
            options=PackOptions(
                exclusions=self._exclusions(
                    redact=state.redacted, models=state.models, output=state.output
                ),
                settle=settings.settle,
                staging=settings.staging_dir,
                compression=state.compress,
                threads=settings.threads or os.cpu_count() or 1,
                key=self.rooms.signing_key,
                emit=self.rooms.emit,
            ),
            store=None if state.store is None else self.rooms.store(state.store),
            stdout=stdout,
            recipients=tuple(Recipient.parse(text) for text in state.recipients),
            identities=self._identities,
            application=self.rooms.settings.application.name,
            snapshot=self._snapshot,
            emit=self.rooms.emit,
        )
        return backing_up.backup_runbook(parts, read_back=state.read_back)

    def _restore_runbook(self, request: BundleRestoreRequest) -> Runbook[BundleRestoreState]:
        parts = BundleRestoreParts(
            bundle=self._opened(request.source),
            trusted=self.rooms.trusted_keys,
            application=lambda: self.rooms.node,
            emit=self.rooms.emit,
        )
        return restoring.bundle_restore_runbook(parts, request)

    def _rollback_runbook(self, state: SwapState) -> Runbook[BundleRollbackState]:
        parts = rolling_back.BundleRollbackParts(application=self.rooms.node, emit=self.rooms.emit)
        return rolling_back.bundle_rollback_runbook(parts, live=state.live)

    def _stopped_backup(self, last: Transition) -> Rebuilt[BackupState]:
        state = read_state(BackupState, last)
        return Rebuilt(runbook=self._backup_runbook(state, stdout=None), lock=self._lock)

    def _stopped_restore(self, last: Transition) -> Rebuilt[BundleRestoreState]:
        request = read_state(BundleRestoreState, last).request
        return Rebuilt(runbook=self._restore_runbook(request), lock=self._lock)

    def _stopped_rollback(self, last: Transition) -> Rebuilt[BundleRollbackState]:
        state = read_state(BundleRollbackState, last)
        return Rebuilt(runbook=self._rollback_runbook(state), lock=self._lock)

    def _finished(self, run: str) -> SwapState:
        """Return what a run that is over has exchanged."""
        refuse_unfinished(run, self.rooms.journal_stores, self.rooms.emit)
        last = existing(run, self.rooms.journal_stores, self.rooms.emit).last
        kind = BundleRestoreState if last.runbook == restoring.NAME else BundleRollbackState
        return read_state(kind, last)

    def _exclusions(self, *, redact: bool, models: bool, output: str = "-") -> Exclusions:
        return exclusions(self.rooms.settings, redact=redact, models=models, output=output)

    def _recipients(self, given: tuple[str, ...]) -> tuple[Recipient, ...]:
        texts = given or self.rooms.settings.encryption.recipients
        return tuple(Recipient.parse(text) for text in texts)

    def _identities(self) -> tuple[Identity, ...]:
        file = self.rooms.settings.encryption.identity_file
        if file is None:
            raise WrongKey(
                "the bundle is sealed, and no identity is set to open it with",
                hint="set `encryption.identity_file`",
            )
        return Identity.load_all(file)

    def _snapshot(self) -> str | None:
        if self.rooms.settings.repository is None:
            return None
        try:
            return self.places.latest().id
        except SnapshotMissing:
            return None

    def _opened(self, name: str) -> OpenedBundle:
        return OpenedBundle(lambda: self._source(name))

    def _source(self, name: str) -> BundleSource:
        if "://" not in name or name.startswith("file:"):
            return file_source(Path(name).expanduser(), self._identities)
        location, member = split_location(name)
        return object_source(self.rooms.store(location), member, self._identities)

    def _lock(self) -> AbstractContextManager[None]:
        # Looking at what is in it makes the folder, for its owner alone.
        next(iter(self.rooms.state.list(recursive=False)), None)
        return only_restore(self.rooms.settings.state_dir)


def _target(output: str | None) -> tuple[str, str]:
    """Return store and name of `--output`; in a folder the name is of today."""
    today = f"alexandria-backup-{datetime.now(UTC):%Y-%m-%d}.tar.gz"
    store, name = target(output or ".")
    return store, name or today


def _absolute(name: str) -> str:
    """Make a path absolute: a journal must mean the same place from every folder."""
    return name if "://" in name else str(Path(name).expanduser().absolute())
