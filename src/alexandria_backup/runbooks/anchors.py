"""Anchors of earlier days: from manifests, and from signed notes; and new notes, stored."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from alexandria_backup.audit.anchor import Anchor
from alexandria_backup.audit.appended import Appended
from alexandria_backup.audit.note import SUFFIX, AnchorNote, decode, encode
from alexandria_backup.audit.report import AuditReport, Status
from alexandria_backup.errors import (
    AlexandriaError,
    AuditBroken,
    AuditUnverified,
    ObjectMissing,
    SettingsInvalid,
    StorageError,
)
from alexandria_backup.events import Emit, Warned
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.server import server_facts
from alexandria_backup.repository.manifest import Manifest
from alexandria_backup.repository.manifest_parts import AnchorPart, TablePart
from alexandria_backup.sealing.signing import SigningKey, TrustedKey
from alexandria_backup.storage.store import ObjectStore

_PROVED = frozenset({Status.INTACT, Status.VERIFIED})


def anchor_part(anchor: Anchor) -> AnchorPart:
    """Return an anchor as a manifest has it."""
    return AnchorPart(**asdict(anchor))


def anchors_of(manifest: Manifest) -> tuple[Anchor, ...]:
    """Return the anchors in a manifest; none of a chain that was broken: nobody vouches for it."""
    audit = manifest.audit
    parts = () if audit is None or audit.status == Status.BROKEN else audit.anchors
    return tuple(Anchor(**part.model_dump()) for part in parts)


def may_be_appended(reference: Manifest | None) -> bool:
    """Tell whether a chain was verified with a key in an earlier snapshot, so that it may go on."""
    audit = reference.audit if reference is not None else None
    return audit is not None and audit.status in _PROVED and len(audit.anchors) == 1


def appended_since(
    reference: Manifest | None, tables: Sequence[TablePart], table: str
) -> Appended | None:
    """Return what is known of the audit table since an earlier snapshot; None where too little is.

    `tables` are those of the new snapshot, whose frames say what was taken over from the earlier
    one. Only a chain that was verified then, with a key, needs no second look.
    """
    if reference is None or not may_be_appended(reference):
        return None
    before, now = (
        next((part for part in parts if f"{part.schema_name}.{part.name}" == table), None)
        for parts in (reference.tables, tables)
    )
    if before is None or now is None or before.rows is None or now.rows is None or not now.framed:
        return None
    frames = now.framed.frames
    read = next((n for n, frame in enumerate(frames) if frame.taken_from is None), len(frames))
    if read == 0 or now.rows < before.rows:
        return None
    page = frames[read].first_page if read < len(frames) else frames[-1].end_page
    return Appended(
        anchor=anchors_of(reference)[0],
        since=reference.snapshot,
        new_rows=now.rows - before.rows,
        changed_rows=sum(frame.rows for frame in frames[read:]),
        first_changed_page=page or 0,
    )


@dataclass(frozen=True, kw_only=True)
class AnchorPlaces:
    """Where signed notes are kept, and whose signatures count.

    What this signer has signed before is among them, so that it can refuse to go back behind it.
    """

    application: str
    database: str
    stores: Sequence[ObjectStore]
    trusted: Sequence[TrustedKey]
    emit: Emit

    def known(self) -> Iterator[Anchor]:
        """Yield the anchors of all notes on this database.

        A note that cannot be read or believed is a warning: whoever damages one must not silence
        the others.
        """
        for store in self.stores:
            for name in self._names(store):
                try:
                    note = decode(store.get(name), self.trusted)
                except ObjectMissing:
                    continue
                except AlexandriaError as error:
                    self.emit(Warned(message=f"anchor `{name}` in `{store.url}`: {error.message}"))
                    continue
                if note.concerns(self.application, self.database):
                    yield from note.anchors

    def _names(self, store: ObjectStore) -> list[str]:
        if _is_missing(store):
            return []
        try:
            found = store.list(recursive=False)
            return sorted(info.name for info in found if info.name.endswith(SUFFIX))
        except StorageError as error:
            self.emit(Warned(message=f"anchors in `{store.url}`: {error.message}"))
            return []

    def keep(self, note: AnchorNote, key: SigningKey) -> str:
        """Store a note in every place, and return it signed. Raises StorageError.

        The place that was asked for comes last: this machine remembers what it has signed even
        where it could not be stored there.
        """
        document = encode(note, key)
        for store in self.stores:
            store.put(note.name, document.encode())
        return document


def _is_missing(store: ObjectStore) -> bool:
    """Tell whether a store is a folder that nobody has made yet."""
    return "://" not in store.url and not Path(store.url).is_dir()


def given(documents: Iterable[tuple[str, bytes]], trusted: Sequence[TrustedKey]) -> list[Anchor]:
    """Return the anchors of notes that somebody has given, each by its name.

    Raises ManifestInvalid and WrongKey for one that cannot be believed: it was asked for.
    """
    found: list[Anchor] = []
    for name, document in documents:
        try:
            found += decode(document, trusted).anchors
        except AlexandriaError as error:
            raise type(error)(f"anchor `{name}`: {error.message}", hint=error.hint) from error
    return found


def note_of(
    report: AuditReport | None, session: Session, *, application: str, database: str
) -> AnchorNote:
    """Return what a signer may vouch for after a verification.

    Raises AuditBroken where the chain is broken or goes back behind what was anchored before, and
    AuditUnverified where there is nothing to vouch for.
    """
    if report is None or report.status in {Status.ABSENT, Status.EMPTY}:
        raise AuditUnverified(
            "there are no audit rows to anchor", hint="set `[audit] table` to `schema.name`"
        )
    if report.status is Status.BROKEN:
        raise AuditBroken(
            f"no anchor was signed: {report.summary()}", hint="alexandria audit verify"
        )
    if report.status is Status.UNVERIFIED or not report.anchors:
        raise AuditUnverified(
            f"no anchor was signed: {report.summary()}", hint="alexandria audit verify"
        )
    facts = server_facts(session)
    return AnchorNote(
        application=application,
        database=database,
        system_identifier=facts.system_identifier,
        table=report.table,
        at=facts.now,
        status=str(report.status),
        anchors=report.anchors,
    )


def note_of_snapshot(manifest: Manifest | None, snapshot: str, *, table: str) -> AnchorNote:
    """Return what a manifest says of the chain; AuditUnverified where it says nothing."""
    anchors = anchors_of(manifest) if manifest is not None else ()
    if manifest is None or manifest.audit is None or not anchors:
        raise AuditUnverified(
            f"snapshot `{snapshot}` is stored, and has no anchor that could be signed",
            hint="alexandria audit verify",
        )
    return AnchorNote(
        application=manifest.application,
        database=manifest.database.name,
        system_identifier=manifest.server.system_identifier,
        table=table,
        at=manifest.created,
        status=manifest.audit.status,
        anchors=anchors,
    )


def refuse_going_back(note: AnchorNote, signed: Iterable[Anchor]) -> None:
    """Raise AuditBroken where a note goes back behind what was signed of the same incarnation.

    Rows are not read again for it: whether they still are what they were, `audit verify` tells.
    """
    now = {(anchor.chain, anchor.incarnation): anchor for anchor in note.anchors}
    for old in signed:
        new = now.get((old.chain, old.incarnation))
        if new is None:
            continue
        same = (new.count, new.last_hmac) == (old.count, old.last_hmac)
        if new.count < old.count or (new.count == old.count and not same):
            raise AuditBroken(
                f"no anchor was signed: the chain has {new.count:,} rows, and {old.count:,} with "
                "another end were signed before",
                hint="alexandria audit verify",
            )


def signer(key: SigningKey | None) -> SigningKey:
    """Return the key that signs; raises SettingsInvalid where none is set."""
    if key is None:
        raise SettingsInvalid(
            "an anchor must be signed, and no signing key is set",
            hint="openssl genpkey -algorithm ed25519 -out signing.key   "
            "# mode 0600; then set `[signing] key_file`",
        )
    return key
