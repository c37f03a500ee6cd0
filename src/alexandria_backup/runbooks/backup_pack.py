"""Making a bundle where it is to lie, and reading it back."""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import ClassVar

from alexandria_backup.bundle.images import images
from alexandria_backup.bundle.manifest import Head, Tail
from alexandria_backup.bundle.pack import Pack
from alexandria_backup.bundle.reader import read_bundle
from alexandria_backup.bundle.selection import Selected, select
from alexandria_backup.bundle.source import object_source
from alexandria_backup.errors import (
    AlexandriaError,
    BundleDamaged,
    ObjectExists,
    StorageError,
)
from alexandria_backup.events import Warned
from alexandria_backup.runbooks.backup_parts import BackupParts
from alexandria_backup.runbooks.bundle_state import BackupState
from alexandria_backup.runbooks.step import Done, Explanation, shell
from alexandria_backup.sealing.encryption import sealed_chunks
from alexandria_backup.storage.placing import sync_folder
from alexandria_backup.storage.store import ObjectStore


@dataclass(frozen=True, kw_only=True)
class PackSets:
    """Pack all of it into one file, and the manifest last."""

    name: ClassVar[str] = "pack"
    changes: ClassVar[bool] = True

    parts: BackupParts

    def explain(self, state: BackupState) -> Explanation:
        """Give the command of the paper runbook."""
        paths = [path for paths in self.parts.sets.values() for path in paths]
        sealed = f", sealed to {len(self.parts.recipients)} recipients"
        return Explanation(
            sentence=f"pack it into `{state.output}`" + sealed * bool(self.parts.recipients),
            commands=(shell("tar", "--create", "--gzip", f"--file={state.output}", *paths),),
        )

    def do(self, state: BackupState) -> Done[BackupState]:
        """Stream it; the file appears when it is whole."""
        made = self._made(state)
        if made is not None:
            return made
        selected = select(self.parts.sets, self.parts.required)
        options = replace(self.parts.options, expected=state.expected_bytes)
        pack = Pack(self._head(state, selected), selected, options)
        size = self._store(state, self._sealed(pack.chunks()))
        tail = pack.tail
        warnings = (*pack.troubles, *_warnings(tail, len(pack.troubles)))
        for warning in warnings:
            self.parts.emit(Warned(message=warning))
        return _done(state, tail, size, self.parts, warnings)

    def undo(self, state: BackupState) -> BackupState:
        """Remove the bundle where this run is known to have made it."""
        store, name = self.parts.store, state.name
        if store is not None and name is not None and self._made(state) is not None:
            store.delete(name)
        return state

    def _made(self, state: BackupState) -> Done[BackupState] | None:
        """Tell whether this run has made the bundle already, before it could say so."""
        store, name = self.parts.store, state.name
        if store is None or name is None or store.head(name) is None:
            return None
        try:
            found = read_bundle(object_source(store, name, self.parts.identities))
        except AlexandriaError:
            return None
        if found.manifest.head.bundle != state.run:
            return None
        return _done(state, found.manifest.tail, found.packed_bytes, self.parts, ())

    def _head(self, state: BackupState, selected: Sequence[Selected]) -> Head:
        return Head(
            bundle=state.run,
            created=state.created or datetime.now(UTC),
            host=socket.gethostname(),
            application=self.parts.application,
            images=images(selected),
            snapshot=state.snapshot,
            tool=version("alexandria-backup"),
            redacted=state.redacted,
            sets={one.name: one.contents for one in selected},
        )

    def _sealed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        recipients = self.parts.recipients
        return sealed_chunks(chunks, recipients) if recipients else chunks

    def _store(self, state: BackupState, chunks: Iterator[bytes]) -> int:
        store, name = self.parts.store, state.name
        if store is None or name is None:
            return self._to_stdout(chunks)
        if state.overwrite and store.head(name) is not None:
            return _replace(store, name, chunks)
        return store.put_stream(name, chunks, expected_size=max(state.expected_bytes, 1))

    def _to_stdout(self, chunks: Iterator[bytes]) -> int:
        if self.parts.stdout is None:
            raise StorageError("there is no standard output to write to")
        size = 0
        try:
            for chunk in chunks:
                self.parts.stdout.write(chunk)
                size += len(chunk)
            self.parts.stdout.flush()
        except OSError as error:
            said = (error.strerror or "input/output error").lower()
            raise StorageError(f"standard output was closed or is full: {said}") from error
        return size


@dataclass(frozen=True, kw_only=True)
class ReadBack:
    """Read the stored bundle to its end, as a restore would."""

    name: ClassVar[str] = "read-back"
    changes: ClassVar[bool] = True

    parts: BackupParts

    def explain(self, state: BackupState) -> Explanation:
        """Give the command that does the same."""
        return Explanation(
            sentence="read the bundle back in full and compare it with its manifest",
            commands=(shell("alexandria", "backup", "verify", state.output),),
        )

    def do(self, state: BackupState) -> Done[BackupState]:
        """Raise BundleDamaged where what is read is not what was written."""
        store, name = self.parts.store, state.name
        if store is None or name is None:
            raise BundleDamaged("standard output cannot be read back")
        source = object_source(store, name, self.parts.identities)
        found = read_bundle(source, emit=self.parts.emit)
        if found.differences:
            raise BundleDamaged(
                f"`{state.output}` was read back with other content than was written: "
                f"{found.differences[0]}",
                hint="check the disk or the object store, then make the bundle again",
            )
        return Done(state, f"{found.manifest.tail.entries:,} entries as written")

    def undo(self, state: BackupState) -> BackupState:
        """Nothing was changed."""
        return state


def _done(
    state: BackupState, tail: Tail, size: int, parts: BackupParts, warnings: tuple[str, ...]
) -> Done[BackupState]:
    update = {
        "bytes": size,
        "content_bytes": tail.bytes,
        "entries": tail.entries,
        "left_out": len(tail.excluded) + tail.excluded_more,
        "problems": tail.problems,
        "signed": parts.options.key is not None,
        "warnings": (*state.warnings, *warnings),
    }
    return Done(state.model_copy(update=update), f"{tail.entries:,} entries, {size:,} bytes")


def _warnings(tail: Tail, told: int) -> Iterator[str]:
    if tail.problems > told:
        yield f"{tail.problems - told:,} more paths had problems; the manifest names each"
    if tail.twins:
        yield (
            f"{len(tail.twins)} names differ from another in upper and lower case alone, such "
            f"as `{tail.twins[0]}`: some file systems take both for one"
        )


def _replace(store: ObjectStore, name: str, chunks: Iterator[bytes]) -> int:
    """Put a bundle in the place of another, which stays until the new one is whole and durable."""
    there = store.local_path(name)
    if there is None:
        raise ObjectExists(
            f"`{store.url}/{name}` exists already, and an object store overwrites nothing",
            hint="choose another name with `--output`",
        )
    new = f"{name}.new"
    store.delete(new)
    size = store.put_stream(new, chunks)
    fresh = store.local_path(new)
    if fresh is None:
        raise StorageError(f"`{new}` vanished from `{store.url}`")
    fresh.replace(there)
    sync_folder(there.parent)
    return size
