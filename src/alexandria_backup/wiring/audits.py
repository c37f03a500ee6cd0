"""Verifying the audit chain where it lives and in snapshots, anchoring it, keeping evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.capture import OpenedCapture, open_capture
from alexandria_backup.audit.discovery import AuditTable, why_none
from alexandria_backup.audit.key import first_reading
from alexandria_backup.audit.note import AnchorNote
from alexandria_backup.audit.report import AuditReport
from alexandria_backup.audit.retire import Retired
from alexandria_backup.audit.sql_writer import append_function
from alexandria_backup.audit.vectors import Tried, read_vectors, try_row, try_vector
from alexandria_backup.errors import AuditUnverified, SettingsInvalid, StorageError
from alexandria_backup.postgres.connect import Session
from alexandria_backup.runbooks.anchors import (
    AnchorPlaces,
    anchors_of,
    given,
    note_of,
    note_of_snapshot,
    refuse_going_back,
    signer,
)
from alexandria_backup.runbooks.chain_reader import ChainSeen, require
from alexandria_backup.runbooks.evidence import Custody
from alexandria_backup.sealing.signing import TrustedKey
from alexandria_backup.settings.audit import recipe_of
from alexandria_backup.storage.locate import split_location
from alexandria_backup.storage.store import ObjectStore
from alexandria_backup.wiring.places import Places
from alexandria_backup.wiring.rooms import Rooms


@dataclass(frozen=True, kw_only=True)
class Audits:
    """What `alexandria audit` does, and what other commands ask of the chain."""

    rooms: Rooms
    places: Places

    def verify(self, name: str | None, anchors: Sequence[str] = ()) -> AuditReport | None:
        """Verify the audit chain of the live database, or of a snapshot; None where is none.

        `anchors` are paths or URLs of signed notes. The live chain is compared with these and with
        all that is known of it; a snapshot with these alone, since it may well be older.
        """
        own = self._given(anchors)
        if name is None:
            with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
                return self.rooms.chain.live(session, [*own, *self._known()], self.rooms.emit)
        location, archive = self.places.locate(name)
        source = self.places.place(location).archive(archive)
        return self.rooms.chain.archive(source, self.rooms.emit, own)[1]

    def anchor(self, out: str | None) -> tuple[AnchorNote, str]:
        """Verify the live chain and sign its state; return that, and the signed note.

        It is stored on this machine, and in `out` or where the settings say.
        Raises AuditBroken where it goes back behind what was anchored before.
        """
        key = signer(self.rooms.signing_key)
        places = self._anchor_places(out)
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            report = self.rooms.chain.live(session, list(self._known()), self.rooms.emit)
            note = note_of(
                report,
                session,
                application=self.rooms.settings.application.name,
                database=self.rooms.servers.database,
            )
        return note, places.keep(note, key)

    def require_anchoring(self) -> None:
        """Raise SettingsInvalid where no anchor could be signed, or stored elsewhere."""
        signer(self.rooms.signing_key)
        if self.rooms.settings.audit.anchor_to is None:
            raise SettingsInvalid(
                "an anchor is required, and no place for it is set",
                hint="set `[audit] anchor_to` to a place that the database's administrators "
                "cannot write to",
            )

    def anchor_snapshot(self, snapshot: str) -> AnchorNote:
        """Sign and store the anchors of a snapshot that was just taken.

        Raises AuditUnverified where it has none or they could not be stored, and AuditBroken where
        they go back behind what was signed before.
        """
        key, places = signer(self.rooms.signing_key), self._anchor_places(None)
        manifest = self.places.snapshots().find(snapshot).manifest
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            table = self.rooms.chain.required(session)
        note = note_of_snapshot(manifest, snapshot, table=str(table))
        refuse_going_back(note, list(places.known()))
        try:
            places.keep(note, key)
        except StorageError as error:
            raise AuditUnverified(
                f"snapshot `{snapshot}` is stored, and its anchor is not: {error.message}",
                hint="alexandria audit anchor",
            ) from error
        return note

    def capture(
        self, out: Path, *, reason: str, operator: str | None, through: str | None
    ) -> OpenedCapture:
        """Write evidence on the live chain into a new file, read it back and verify it.

        Raises what `collect` raises, and ObjectExists where there is such a file.
        """
        key = signer(self.rooms.signing_key)
        store, name = self._file(out)
        custody = self._custody(reason, operator)
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            made = custody.capture(session, key=key, anchors=self._known(), through=through)
        store.put(name, made)
        return open_capture(store.get(name), (key.trusted,))

    def opened_capture(self, path: Path, keys: Sequence[str] = ()) -> OpenedCapture:
        """Verify evidence; `keys` go before the settings' own. Raises ManifestInvalid, WrongKey."""
        trusted = tuple(map(TrustedKey.parse, keys)) or self.rooms.all_trusted_keys
        store, name = self._file(path)
        return open_capture(store.get(name), trusted)

    def plan_retirement(self, path: Path, *, reason: str, operator: str | None) -> Retired:
        """Check whether captured rows can be retired, and say how."""
        opened, custody = self.opened_capture(path), self._custody(reason, operator)
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            return custody.plan(session, opened)

    def retire(self, path: Path, *, reason: str, operator: str | None) -> Retired:
        """Move captured rows; raises PrecheckRefused where the capture is of other rows."""
        opened, custody = self.opened_capture(path), self._custody(reason, operator)
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            return custody.retire(session, opened)

    def tried(self, vectors: Path | None, ident: str | None) -> tuple[Tried, ...]:
        """Compute vectors of a file, of all its rows or of one; or one row of the database."""
        chain = self.rooms.chain
        if vectors is not None:
            read = read_vectors(vectors)
            recipe = recipe_of(read.recipe, vectors.stem) if read.recipe else chain.recipe
            key = read.key if read.key is not None else first_reading(chain.key)
            tried = tuple(try_vector(row, recipe, key) for row in read.rows)
            return tuple(one for one in tried if ident in {None, one.id})
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            return (try_row(session, self._table(session), chain.recipe, chain.key, ident or ""),)

    def append_function(self) -> str:
        """Return the recipe as a SQL function for the audit table."""
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            return append_function(self._table(session), self.rooms.chain.recipe)

    def _table(self, session: Session) -> AuditTable:
        return self.rooms.chain.required(session)

    def why_none(self) -> tuple[str, ...]:
        """Say why the database has no audit table: what comes near to being one."""
        with self.rooms.servers.session(self.rooms.servers.database, "audit") as session:
            return why_none(session, self.rooms.chain.recipe.columns)

    def require(self, seen: ChainSeen | None, where: str) -> None:
        """Raise AuditBroken or AuditUnverified as `[audit] required` says."""
        require(seen, required=self.rooms.settings.audit.required, where=where)

    def _custody(self, reason: str, operator: str | None) -> Custody:
        return Custody(
            chain=self.rooms.chain,
            application=self.rooms.settings.application.name,
            operator=operator,
            reason=reason,
        )

    def _file(self, path: Path) -> tuple[ObjectStore, str]:
        store, name = split_location(str(path))
        return self.rooms.store(store), name

    def _known(self) -> list[Anchor]:
        """Return the anchors of this database's snapshots and of all notes."""
        settings = self.rooms.settings
        found = list(self._anchor_places(None).known())
        found += self._given(settings.audit.anchors)
        if self.rooms.has_repository:
            for entry in self.places.snapshots().all():
                manifest = entry.manifest
                if (
                    manifest is not None
                    and manifest.application == settings.application.name
                    and manifest.database.name == self.rooms.servers.database
                ):
                    found += anchors_of(manifest)
        return found

    def _given(self, names: Sequence[str]) -> list[Anchor]:
        located = [(name, *split_location(name)) for name in names]
        documents = [(name, self.rooms.store(store).get(file)) for name, store, file in located]
        return given(documents, self.rooms.all_trusted_keys)

    def _anchor_places(self, out: str | None) -> AnchorPlaces:
        settings = self.rooms.settings
        named = out or settings.audit.anchor_to
        stores: list[ObjectStore] = [self.rooms.store(str(settings.state_dir / "anchors"))]
        stores += [self.rooms.store(named)] if named else []
        return AnchorPlaces(
            application=settings.application.name,
            database=self.rooms.servers.database,
            stores=stores,
            trusted=self.rooms.all_trusted_keys,
            emit=self.rooms.emit,
        )
