"""Checking a whole repository: what is missing, foreign, damaged, left over; nothing is repaired.

Every name that the store lists is accounted for. With `deep`, every object is read, too, and its
SHA-256 compared with its name. What a snapshot holds is `snapshot verify`'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from alexandria_backup.errors import SnapshotDamaged, WrongKey
from alexandria_backup.events import Emit
from alexandria_backup.repository.access import Found
from alexandria_backup.repository.entries import SnapshotEntry
from alexandria_backup.repository.examining import missing_objects
from alexandria_backup.repository.findings import CheckReport, RepositoryFinding, Severity, abridged
from alexandria_backup.repository.layout import Kind, object_name, parse
from alexandria_backup.repository.leases import LIFETIME
from alexandria_backup.repository.ledger import LedgerReport
from alexandria_backup.repository.opened import Repository
from alexandria_backup.repository.partials import Partial, found_partials
from alexandria_backup.repository.rehashing import rehash
from alexandria_backup.repository.results import Result
from alexandria_backup.repository.run_journals import journal_findings
from alexandria_backup.repository.snapshots import how_it_went
from alexandria_backup.storage.store import ObjectInfo


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Everything that a check looks at."""

    infos: tuple[ObjectInfo, ...]
    #: Objects by name, with their sizes.
    present: dict[str, int]
    entries: tuple[SnapshotEntry, ...]
    partials: tuple[Found[Partial], ...]
    results: tuple[Found[Result], ...]
    ledger: LedgerReport


def check(repository: Repository, *, now: datetime, deep: bool, emit: Emit) -> CheckReport:
    """Look at everything; what is wrong is reported. Raises StorageError alone.

    `now` is for ages, by this machine's clock. What a snapshot that is being taken puts meanwhile
    may be reported as not needed; nothing that is there is reported as missing.
    """
    seen = _look(repository)
    findings = [
        *_names(seen),
        *_manifests(seen),
        *_objects(seen),
        *_ledger(repository, seen),
        *_documents(seen),
        *_tombstones(repository),
        *_old(seen, now),
        *journal_findings(repository.store, seen.infos, now),
    ]
    read = 0
    if deep:
        damaged, read = rehash(repository, seen.present, seen.entries, emit)
        findings += damaged
    return CheckReport(
        repository=repository.id,
        snapshots=len(seen.entries),
        objects=len(seen.present),
        bytes=sum(seen.present.values()),
        read=read,
        ledger_entries=len(seen.ledger.entries),
        heads=seen.ledger.heads,
        findings=abridged(findings),
    )


def _look(repository: Repository) -> _Seen:
    """Read the documents first and list afterwards, so that what they name has had its time."""
    ledger = repository.ledger.read()
    entries = repository.snapshots.all()
    partials = found_partials(repository.access)
    results = repository.results.all()
    infos = tuple(repository.store.list())
    return _Seen(
        infos=infos,
        present={i.name: i.size for i in infos if parse(i.name).kind is Kind.OBJECT},
        entries=entries,
        partials=partials,
        results=results,
        ledger=ledger,
    )


def _names(seen: _Seen) -> Iterator[RepositoryFinding]:
    for info in seen.infos:
        if parse(info.name).kind is Kind.FOREIGN:
            yield RepositoryFinding(
                severity=Severity.WARNING,
                code="foreign",
                about=info.name,
                message="nothing that this program puts there",
            )


def _manifests(seen: _Seen) -> Iterator[RepositoryFinding]:
    for entry in seen.entries:
        if entry.manifest is None:
            yield RepositoryFinding(
                severity=Severity.ERROR,
                code="manifest-unreadable",
                about=entry.id,
                message=entry.problem or "its manifest cannot be read",
            )
            continue
        for bad in missing_objects(entry.manifest, seen.present):
            code = "object-missing" if bad.problem == "is missing" else "object-damaged"
            yield RepositoryFinding(
                severity=Severity.ERROR,
                code=code,
                about=entry.id,
                message=f"`{object_name(bad.object)}` {bad.problem}",
            )
        if entry.problem is not None:
            yield RepositoryFinding(
                severity=Severity.ERROR,
                code="found-bad",
                about=entry.id,
                message=entry.problem,
            )


def _objects(seen: _Seen) -> Iterator[RepositoryFinding]:
    """Count what nobody names; not while a manifest cannot be read, which may name it."""
    if any(entry.manifest is None for entry in seen.entries):
        return
    named = {
        object_name(part.object)
        for entry in seen.entries
        if entry.manifest
        for part in entry.manifest.stored_parts()
    }
    unfinished = {
        object_name(part.object)
        for found in seen.partials
        if found.document
        for part in found.document.parts
    }
    orphans = seen.present.keys() - named - unfinished
    for names, code, what in (
        (orphans, "orphaned", "objects that nothing needs; the next prune removes them"),
        (unfinished & seen.present.keys() - named, "unfinished", "objects of unfinished snapshots"),
    ):
        if names:
            size = sum(seen.present[name] for name in names)
            yield RepositoryFinding(
                severity=Severity.NOTE,
                code=code,
                about="objects/",
                message=f"{len(names)} {what} ({size:,} bytes)",
            )


def _ledger(repository: Repository, seen: _Seen) -> Iterator[RepositoryFinding]:
    ledger = seen.ledger
    for problem in ledger.problems:
        yield RepositoryFinding(
            severity=Severity.ERROR, code="ledger-damaged", about="ledger/", message=problem
        )
    for head in repository.lost_heads():
        yield RepositoryFinding(
            severity=Severity.ERROR,
            code="ledger-cut",
            about="ledger/",
            message=f"the entry `{head[:12]}…`, which this machine has seen, is not there",
        )
    listed = {entry.id for entry in seen.entries}
    for snapshot in ledger.taken:
        if snapshot not in listed and snapshot not in ledger.removed:
            yield RepositoryFinding(
                severity=Severity.ERROR,
                code="snapshot-gone",
                about=snapshot,
                message=how_it_went(snapshot, ledger) or "it is gone",
            )
    for snapshot in sorted(listed):
        if snapshot in ledger.removed:
            how = how_it_went(snapshot, ledger)
            message = f"it is there, and the ledger says: {how}"
            code = "snapshot-back"
        elif snapshot not in ledger.taken:
            message = "the ledger does not know it: its run was cut off, or somebody else put it"
            code = "snapshot-unknown"
        else:
            continue
        yield RepositoryFinding(
            severity=Severity.WARNING, code=code, about=snapshot, message=message
        )


def _documents(seen: _Seen) -> Iterator[RepositoryFinding]:
    documents: list[Found[Result] | Found[Partial]] = [*seen.results, *seen.partials]
    for found in documents:
        if found.problem is not None:
            yield RepositoryFinding(
                severity=Severity.WARNING,
                code="unreadable",
                about=found.name,
                message=found.problem,
            )


def _tombstones(repository: Repository) -> Iterator[RepositoryFinding]:
    try:
        standing = repository.tombstones()
    except (SnapshotDamaged, WrongKey) as error:
        yield RepositoryFinding(
            severity=Severity.WARNING,
            code="unreadable",
            about="tombstones/",
            message=error.message,
        )
        return
    for one in standing:
        yield RepositoryFinding(
            severity=Severity.NOTE,
            code="prune-begun",
            about=one.name,
            message=f"a prune began at {one.since:%Y-%m-%d %H:%M} UTC and has not ended",
        )


def _old(seen: _Seen, now: datetime) -> Iterator[RepositoryFinding]:
    for info in seen.infos:
        age = now - info.modified
        kind = parse(info.name).kind
        if kind is Kind.LEASE and age > LIFETIME:
            yield RepositoryFinding(
                severity=Severity.NOTE,
                code="lease-old",
                about=info.name,
                message=f"nobody has renewed it for {_age(age)}",
            )
        if kind is Kind.PARTIAL and age > timedelta(days=1):
            yield RepositoryFinding(
                severity=Severity.NOTE,
                code="partial-old",
                about=info.name,
                message=f"an unfinished snapshot of {_age(age)} ago",
            )


def _age(age: timedelta) -> str:
    return (
        f"{age.days} days" if age.days else f"{age.seconds // 3600} h {age.seconds // 60 % 60} min"
    )
