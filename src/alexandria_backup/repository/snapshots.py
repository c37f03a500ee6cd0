"""The snapshots of a repository: the same entries as a folder of files has.

The status of each rests on signed results, and is never more than was done: `stored`, then `read
back` once everything was read as a restore does, then `drilled`. A verify that found something
wrong makes it `damaged` until one that does as much finds it good.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from alexandria_backup.errors import (
    ManifestInvalid,
    ObjectMissing,
    RepositoryInvalid,
    SnapshotDamaged,
    SnapshotMissing,
    StorageError,
    WrongKey,
)
from alexandria_backup.repository.access import Found
from alexandria_backup.repository.documents import refuse_foreign
from alexandria_backup.repository.entries import STORED, SnapshotEntry, in_order, missing, newest
from alexandria_backup.repository.fetching import fetch_all
from alexandria_backup.repository.layout import (
    MANIFEST_SUFFIX,
    SNAPSHOTS,
    Kind,
    is_snapshot_id,
    manifest_name,
    parse,
)
from alexandria_backup.repository.ledger import Ledger, LedgerReport
from alexandria_backup.repository.manifest import LARGEST_BYTES, Manifest, SignedManifest, decode
from alexandria_backup.repository.results import Examination, Result, Results, standing_of
from alexandria_backup.sealing.signing import TrustedKey
from alexandria_backup.storage.store import ObjectInfo, ObjectStore


@dataclass(frozen=True, kw_only=True)
class RepositorySnapshots:
    """The snapshots of one repository."""

    store: ObjectStore
    repository: str
    #: Keys whose signatures count; where there are any, unsigned manifests are a problem.
    trusted: tuple[TrustedKey, ...]
    ledger: Ledger
    results: Results
    #: Of raw digests; None on a machine that cannot compare them.
    digest_key: bytes | None = field(repr=False)

    def all(self) -> tuple[SnapshotEntry, ...]:
        """Return every snapshot, oldest first; what is wrong with one stands in its entry.

        Raises StorageError where a listing fails or the store cannot be reached.
        """
        listed = [i for i in self.store.list(SNAPSHOTS) if parse(i.name).kind is Kind.MANIFEST]
        results = self.results.all() if listed else ()
        return in_order(
            [
                self._entry(info, data, results)
                for info, data in fetch_all(self.store, listed, largest=LARGEST_BYTES)
            ]
        )

    def find(self, name: str) -> SnapshotEntry:
        """Return the snapshot of this id, or of its manifest's name.

        Raises SnapshotMissing, which says how it went where the ledger knows; ManifestInvalid or
        WrongKey for a manifest that is there and cannot be believed; StorageError.
        """
        snapshot = name.removeprefix(SNAPSHOTS).removesuffix(MANIFEST_SUFFIX)
        info = self.store.head(manifest_name(snapshot)) if is_snapshot_id(snapshot) else None
        if info is None:
            raise self._missing(snapshot)
        entry = next(
            (
                self._entry(one, data, self.results.about(snapshot))
                for one, data in fetch_all(self.store, [info], largest=LARGEST_BYTES)
            ),
            None,
        )
        if entry is None:
            raise self._missing(snapshot)
        if entry.signed is None:
            raise self._why(info)
        return entry

    def latest(
        self, *, application: str, database: str, at: datetime | None = None
    ) -> SnapshotEntry:
        """Return the newest snapshot of this application and database; see `entries.newest`."""
        return newest(
            self.all(),
            url=self.store.url,
            application=application,
            database=database,
            at=at,
        )

    def decoded(self, snapshot: str, data: bytes) -> SignedManifest:
        """Return the manifest in a document that lies under the name of `snapshot`.

        Raises ManifestInvalid, WrongKey or RepositoryInvalid.
        """
        signed = decode(data, self.trusted)
        refuse_foreign(self.repository, signed.manifest.repository, "the manifest")
        if signed.manifest.snapshot != snapshot:
            raise ManifestInvalid(
                f"the manifest is the one of snapshot `{signed.manifest.snapshot}`"
            )
        return signed

    def _entry(
        self,
        info: ObjectInfo,
        data: bytes | StorageError | RepositoryInvalid,
        results: Iterable[Found[Result]],
    ) -> SnapshotEntry:
        snapshot = parse(info.name).key
        signed, problem, document, examined = None, None, None, STORED
        about: tuple[Result, ...] = ()
        try:
            if not isinstance(data, bytes):
                raise data
            signed = self.decoded(snapshot, data)
            document = sha256(data).hexdigest()
        except (SnapshotDamaged, WrongKey, StorageError) as error:
            problem = error.message
        if document is not None:
            about = tuple(
                f.document for f in results if f.document and f.document.manifest == document
            )
            examined, problem = _standing(about)
        return SnapshotEntry(
            id=snapshot,
            archive=info.name,
            bytes=stored_bytes(signed.manifest) if signed else None,
            signed=signed,
            problem=problem,
            stored=info.modified,
            examined=examined,
            document=document,
            digest_key=self.digest_key,
            results=about,
        )

    def _why(self, info: ObjectInfo) -> SnapshotDamaged | WrongKey | StorageError:
        """Return what is wrong with a manifest that cannot be believed."""
        snapshot = parse(info.name).key
        try:
            self.decoded(snapshot, self.store.get(info.name))
        except (SnapshotDamaged, WrongKey) as error:
            hint = error.hint or "alexandria repository check"
            return type(error)(f"`{info.name}`: {error.message}", hint=hint)
        except ObjectMissing:
            return self._missing(snapshot)
        return StorageError(f"`{info.name}` changes while it is read", hint="then again")

    def _missing(self, snapshot: str) -> SnapshotMissing:
        listed = [parse(info.name).key for info in self.store.list(SNAPSHOTS)]
        error = missing(snapshot, self.store.url, [key for key in listed if key])
        how = how_it_went(snapshot, self.ledger.read())
        return SnapshotMissing(f"{error.message}: {how}", hint=error.hint) if how else error


def stored_bytes(manifest: Manifest) -> int:
    """Return the bytes of all objects that a snapshot needs, shared ones counted once."""
    return sum({part.object: part.bytes for part in manifest.stored_parts()}.values())


def how_it_went(snapshot: str, ledger: LedgerReport) -> str | None:
    """Say how a snapshot went that is not there; None where the ledger has never known it."""
    entry = ledger.removed.get(snapshot)
    if entry is not None:
        why = entry.details.get(snapshot) or entry.reason
        reason = f": {why}" if why else ""
        return f"removed by {entry.action.value} on {entry.at:%Y-%m-%d %H:%M} UTC{reason}"
    taken = ledger.taken.get(snapshot)
    if taken is not None:
        return (
            f"it was completed on {taken.at:%Y-%m-%d %H:%M} UTC, and neither a prune nor a delete "
            "has removed it: somebody else did"
        )
    return None


def _standing(about: Iterable[Result]) -> tuple[str, str | None]:
    """Return what was done with the snapshot of a manifest, and what was found wrong with it."""
    best, bad = standing_of(about, datetime.now(UTC))
    if bad is not None:
        return STORED, f"{bad.examination.value} on {bad.at:%Y-%m-%d %H:%M} UTC: {bad.problem}"
    if best is None or best is Examination.VERIFIED:
        return STORED, None
    return best.value, None
