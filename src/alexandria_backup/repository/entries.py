"""A snapshot as a listing has it, of a folder of files and of a repository alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final

from alexandria_backup.errors import SnapshotMissing
from alexandria_backup.repository.manifest import Manifest, SignedManifest
from alexandria_backup.repository.manifest_parts import SnapshotKind
from alexandria_backup.repository.results import Examination, Result

#: What is known of a snapshot that nobody has read since it was stored.
STORED = "stored"


#: As `Repository.digest_key` has it; an entry has `bytes` of its own.
DigestKey = bytes

#: What stands for the newest snapshot, where one is named.
_LATEST: Final = "latest"


#: How exactly object stores tell when they were given something.
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class SnapshotEntry:
    """One snapshot as the listing has it."""

    #: The archive's name without its ending, or the repository's id of it.
    id: str
    #: The name in the store: of the archive, or in a repository of the manifest.
    archive: str
    #: Bytes of what is stored for it; None where that is missing or unknown.
    bytes: int | None
    #: None where there is none, or none that can be read.
    signed: SignedManifest | None
    #: What is wrong, in one line; None where nothing is.
    problem: str | None
    #: When the store says that the archive, or else the manifest, was stored.
    stored: datetime
    #: The most that was ever done with it and found good: `stored`, `read back` or `drilled`.
    examined: str
    #: SHA-256 of the manifest's document; None where there is none.
    document: str | None = None
    #: What keyed digests in the manifest can be compared under; None where this machine has no key.
    digest_key: DigestKey | None = field(default=None, repr=False)
    #: What examinations of it have found, as far as that can be believed, oldest first.
    results: tuple[Result, ...] = ()

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, where there is a good one."""
        return self.signed.manifest if self.signed else None

    @property
    def status(self) -> str:
        """`damaged` where something is wrong, else what was done with it, and never more."""
        return "damaged" if self.problem is not None else self.examined

    @property
    def drilled(self) -> datetime | None:
        """When the newest good drill was; None where there was none."""
        good = [r for r in self.results if r.examination is Examination.DRILLED and r.good]
        return good[-1].at if good else None

    @property
    def doubt(self) -> str | None:
        """Why the newest results are not the whole story; None where they are.

        One is dated in the future of this machine's clock, or the checks of the newest drill were
        not content.
        """
        if self.results and self.results[-1].at > datetime.now(UTC):
            return (
                f"the result of {self.results[-1].at:%Y-%m-%d %H:%M} UTC is dated in the future of "
                "this machine's clock: one of the clocks is wrong"
            )
        newest = next(
            (r for r in reversed(self.results) if r.examination is Examination.DRILLED), None
        )
        if newest is None or not newest.only_checks:
            return None
        return f"drilled on {newest.at:%Y-%m-%d %H:%M} UTC: {newest.problem}"

    @property
    def created(self) -> datetime:
        """When it was taken: by the server's clock, or for an archive alone when it was stored."""
        return self.manifest.created if self.manifest else self.stored

    @property
    def dated(self) -> datetime:
        """When it was taken, for order and age: no later than when the store was given it.

        A server whose clock was ahead once must not make a snapshot that is the newest for years.
        Object stores count whole seconds, so that one more is no sign of it: two snapshots of one
        second keep their order.
        """
        return self.created if self.created - self.stored <= _SECOND else self.stored


def in_order(entries: Sequence[SnapshotEntry]) -> tuple[SnapshotEntry, ...]:
    """Return entries oldest first."""
    return tuple(sorted(entries, key=lambda entry: (entry.dated, entry.id)))


def newest(
    entries: Sequence[SnapshotEntry],
    *,
    url: str,
    application: str,
    database: str,
    at: datetime | None = None,
) -> SnapshotEntry:
    """Return the newest snapshot of this application and database, by the server's clock.

    Not younger than `at` where that is given. Never one of kind `safety`, and only one with a good
    manifest. `entries` are in order, `url` is for messages. Raises SnapshotMissing.
    """
    fitting = [
        entry
        for entry in entries
        if entry.problem is None
        and entry.manifest is not None
        and entry.manifest.kind is not SnapshotKind.SAFETY
        and entry.manifest.application == application
        and entry.manifest.database.name == database
        and (at is None or entry.manifest.created <= at)
    ]
    if not fitting:
        of_then = "" if at is None else f" that was taken by {at:%Y-%m-%d %H:%M:%S %Z}"
        raise SnapshotMissing(
            f"`{url}` has no snapshot of application `{application}`, "
            f"database `{database}`{of_then}; {len(entries)} others are there",
            hint="alexandria snapshot list   # then restore one by its id",
        )
    return fitting[-1]


def missing(
    name: str,
    url: str,
    ids: Sequence[str],
    *,
    like: str | None = None,
    hint: str = "alexandria snapshot list",
) -> SnapshotMissing:
    """Return the error for a snapshot that is not there, which names the nearest that is.

    `like` is what the nearest is like, where that is not `name` itself.
    """
    known = ids if name == _LATEST else (*ids, _LATEST)
    near = get_close_matches(like or name, known, n=1)
    return SnapshotMissing(
        f"there is no snapshot `{name}` in `{url}`"
        + (f"; the nearest is `{near[0]}`" if near else ""),
        hint=hint,
    )
